"""report.html in a real browser: what its gallery shows, sorts and leaves out, driven through its address."""
import html
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from deeppose import report
from deeppose.skeleton import LSP
from deeppose.tables import Table

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NASTY = "a </script><script>document.title='broken'</script> & \"b\" {{data}}.jpg"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of 5 images with known errors in torso diameters (0.1 px of 100), by stage; image 3 has no wrist."""
    folder = tmp_path_factory.mktemp("report")
    true = np.tile(np.random.default_rng(0).uniform(60, 160, (14, 2)), (5, 1, 1))
    true[:, LSP.index("left_shoulder")] = true[:, LSP.index("right_hip")] + [0, 100]
    first, second = true.copy(), true.copy()
    first[..., 0] += np.array([10, 50, 20, 40, 30])[:, None]
    second[..., 0] += np.array([5, 20, 30, 60, 25])[:, None]
    second[0, LSP.index("left_wrist"), 1] += 90
    true[3, LSP.index("left_wrist")] = np.nan
    images = np.random.default_rng(0).integers(0, 255, (5, 227, 227, 3), np.uint8)
    Image.new("RGB", (40, 30), "white").save(folder / "curve.png")
    report.write(folder / "report.html", NASTY, "5 images", [Table("Scores", (("", ("stage 1",)),), ((NASTY, ["1"]),))],
                 {"a curve": folder / "curve.png"}, images, [f"{NASTY} {n}" for n in range(5)],
                 {"stage_1": first, "stage_2": second, "true": true}, LSP)
    return folder / "report.html"


@pytest.fixture
def browse(page, tmp_path):
    """browse(address, script): the page as the browser has it after its own script, then this one, ran."""
    if not BROWSER:
        pytest.skip("no Chromium on the PATH")

    def dump(address="", script=""):
        driven = tmp_path / "report.html"
        driven.write_text(page.read_text(encoding="utf-8") + f"<script>{script}</script>", encoding="utf-8")
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
                 "--disable-component-update", "--no-first-run", f"--user-data-dir={tmp_path / 'browser'}")
        done = subprocess.run([BROWSER, *flags, "--dump-dom", f"{driven.as_uri()}{address}"], capture_output=True,
                              text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout
    return dump


def rows(dom):
    return [int(row) for row in re.findall(r'data-row="(\d+)"', dom)]


@pytest.mark.parametrize("address, expected", [
    ("", [3, 2, 4, 1, 0]),  # the largest error of stage 2 first
    ("#sort=stage_1&order=up", [0, 2, 4, 3, 1]),
    ("#sort=gained&order=down", [1, 4, 0, 2, 3]),
    ("#sort=row&order=up", [0, 1, 2, 3, 4]),
    ("#sort=stage_2&joint=left_wrist", [0, 2, 4, 1]),  # image 3 has no label there
    ("#sort=nonsense&order=%3C&joint=tail&image=99", [3, 2, 4, 1, 0]),
])
def test_the_gallery_is_sorted_and_filtered(browse, address, expected):
    assert rows(browse(address)) == expected


def test_one_image_large_with_all_its_layers(browse):
    dom = browse("#image=3&joint=left_wrist")
    dialog = dom[dom.index("<dialog"):dom.index("</dialog>")]
    assert re.search(r"<dialog[^>]* open", dialog) and html.escape(NASTY, quote=False) in dialog
    for layer in ("true", "stage-1", "stage-2"):
        assert f'<g class="{layer}">' in dialog
    assert dialog.count('type="checkbox"') == 3
    assert "<th>left wrist</th><td>-</td><td>-</td>" in dialog and "<th>head</th><td>0.40</td><td>0.60</td>" in dialog
    assert "1 without this label left out" in dom


def test_errors_stand_under_the_images_and_skeletons_where_they_are(browse, page):
    dom = browse("#sort=row&order=up")
    assert "1: 0.50 → 0.20" in dom
    data = re.search(r'"stage_1":\[\[([\d.]+),([\d.]+)\]', page.read_text(encoding="utf-8"))
    assert f"M{data[1].removesuffix('.0')} " in dom or f"L{data[1].removesuffix('.0')} " in dom


def test_clicks_and_keys(browse):
    """A click on the second image, two steps on with the arrow, stage 1 and the truth off with their keys; then Esc."""
    script = """
        const press = key => at("large").dispatchEvent(new KeyboardEvent("keydown", {key}));
        document.querySelectorAll(".thumb")[1].click();
        ["ArrowRight", "ArrowRight", "1", "t"].forEach(press);"""
    dom = browse("", script)
    dialog = dom[dom.index("<dialog"):dom.index("</dialog>")]
    assert f"{html.escape(NASTY, quote=False)} 1</strong>" in dialog  # 3, 2, 4, 1, 0 is the order
    assert '<g class="stage-2">' in dialog and not re.search('<g class="(stage-1|true)">', dialog)
    script += 'at("close").click(); at("sort").value = "row"; at("sort").onchange({target: at("sort")});'
    dom = browse("", script)
    assert not re.search(r"<dialog[^>]* open", dom) and rows(dom) == [4, 3, 2, 1, 0]


def test_no_name_breaks_the_page_and_nothing_is_fetched(browse, page):
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == 2 and "{{" not in text.replace("{{data}}.jpg", "")
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)""", text) and "default-src 'none'" in text
    title = re.search("<title>(.*?)</title>", browse())[1]
    assert html.unescape(title) == NASTY


def test_a_thousand_images_take_less_than_15_mb(data, tmp_path):
    images = np.concatenate([data.test_images] * 100)
    images = np.bitwise_xor(images, np.arange(len(images), dtype=np.uint8)[:, None, None, None] % 8)
    true = np.concatenate([data.test_labels] * 100)
    report.write(tmp_path / "report.html", "r", "", [], {}, images, ["test row"] * len(images),
                 {"stage_1": true + 1, "stage_2": true + 2, "true": true}, LSP)
    assert (tmp_path / "report.html").stat().st_size < 13e6  # and 2 MB for the pictures
