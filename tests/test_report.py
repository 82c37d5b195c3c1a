"""report.html in a real browser: what its gallery shows, sorts and leaves out, driven through its
address."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deeppose import report
from deeppose.skeletons import LSP
from deeppose.text_tables import Table

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NASTY = "a </script><script>document.title='broken'</script> & \"b\" {{data}}.jpg"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of 5 images with known errors in torso diameters (0.1 px of 100), by stage; image 3
    has no wrist.

    How sure each image is of its poses differs, and image 2 tells nothing of it; image 4 is unsure
    of a knee.
    """
    folder = tmp_path_factory.mktemp("report")
    true = np.tile(np.random.default_rng(0).uniform(60, 160, (14, 2)), (5, 1, 1))
    true[:, LSP.index("left_shoulder")] = true[:, LSP.index("right_hip")] + [0, 100]
    first, second = true.copy(), true.copy()
    first[..., 0] += np.array([10, 50, 20, 40, 30])[:, None]
    second[..., 0] += np.array([5, 20, 30, 60, 25])[:, None]
    second[0, LSP.index("left_wrist"), 1] += 90
    true[3, LSP.index("left_wrist")] = np.nan
    sure = np.array([0.6, 0.9, np.nan, 0.3, 0.8])[:, None] * np.ones(14)
    sure[4, LSP.index("left_knee")] = 0.1
    images = np.random.default_rng(0).integers(0, 255, (5, 227, 227, 3), np.uint8)
    Image.new("RGB", (40, 30), "white").save(folder / "curve.png")
    report.write(
        folder / "report.html",
        NASTY,
        "5 images",
        [Table("Scores", (("", ("stage 1",)),), ((NASTY, ["1"]),))],
        {"a curve": folder / "curve.png"},
        images,
        [f"{NASTY} {n}" for n in range(5)],
        {"stage_1": first, "stage_2": second, "true": true},
        LSP,
        LSP.units_px(true, None),
        {"stage_1": np.full((5, 14), np.nan), "stage_2": sure},
    )
    return folder / "report.html"


@pytest.fixture
def browse(page, tmp_path):
    """browse(address, script): the page as the browser has it after its own script, then this one,
    ran."""
    if not BROWSER:
        pytest.skip("no Chromium on the PATH")

    def dump(address="", script=""):
        driven = tmp_path / "report.html"
        driven.write_text(
            page.read_text(encoding="utf-8") + f"<script>{script}</script>", encoding="utf-8"
        )
        flags = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-sync",
            "--disable-component-update",
            "--no-first-run",
            f"--user-data-dir={tmp_path / 'browser'}",
        )
        done = subprocess.run(
            [BROWSER, *flags, "--dump-dom", f"{driven.as_uri()}{address}"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return dump


def rows(dom):
    return [int(row) for row in re.findall(r'data-row="(\d+)"', dom)]


@pytest.mark.parametrize(
    "address, expected",
    [
        ("", [3, 2, 4, 1, 0]),  # the largest error of stage 2 first
        ("#sort=stage_1&order=up", [0, 2, 4, 3, 1]),
        ("#sort=gained&order=down", [1, 4, 0, 2, 3]),
        ("#sort=row&order=up", [0, 1, 2, 3, 4]),
        # the last stage's mean; what is not known comes last
        ("#sort=confidence&order=up", [3, 0, 4, 1, 2]),
        ("#sort=confidence&order=down", [1, 4, 0, 3, 2]),
        ("#sort=confidence&order=up&joint=left_knee", [4, 3, 0, 1, 2]),
        ("#sort=stage_2&joint=left_wrist", [0, 2, 4, 1]),  # image 3 has no label there
        ("#sort=nonsense&order=%3C&joint=tail&image=99", [3, 2, 4, 1, 0]),
    ],
)
def test_the_gallery_is_sorted_and_filtered(browse, address, expected):
    assert rows(browse(address)) == expected


def test_one_image_large_with_all_its_layers(browse):
    dom = browse("#image=3&joint=left_wrist")
    dialog = dom[dom.index("<dialog") : dom.index("</dialog>")]
    assert re.search(r"<dialog[^>]* open", dialog) and html.escape(NASTY, quote=False) in dialog
    for layer in ("true", "stage-1", "stage-2"):
        assert f'<g class="{layer}">' in dialog
    assert dialog.count('type="checkbox"') == 3
    assert (
        "<th>left wrist</th><td>-</td><td>-</td>" in dialog
        and "<th>head</th><td>0.40</td><td>0.60</td>" in dialog
    )
    assert "1 without this label left out" in dom


def test_errors_stand_under_the_images_and_skeletons_where_they_are(browse, page):
    dom = browse("#sort=row&order=up")
    assert "1: 0.50 → 0.20" in dom
    data = re.search(r'"stage_1":\[\[([\d.]+),([\d.]+)\]', page.read_text(encoding="utf-8"))
    assert f"M{data[1].removesuffix('.0')} " in dom or f"L{data[1].removesuffix('.0')} " in dom


def test_unsure_limbs_are_faint_and_those_alone(browse):
    """Both limbs of the knee that image 4 is unsure of, in stage 2 alone; in image 2, which tells
    nothing, none."""

    def groups(image):
        dom = browse(f"#image={image}")
        dialog = dom[dom.index("<dialog") : dom.index("</dialog>")]
        drawn = re.split('<g class="([^"]*)">', dialog)[1:]
        return dict(zip(drawn[::2], drawn[1::2]))

    def bones(text, faint):
        part = text.split('<g opacity="0.35">')[faint]
        return part.count("M") // 2  # the edge under them and the line

    unsure = groups(4)
    assert {name: bones(text, True) for name, text in unsure.items()} == {
        "true": 0,
        "stage-1": 0,
        "stage-2": 2,
    }
    assert bones(unsure["stage-2"], False) == len(LSP.bones) - 2
    assert {bones(text, True) for text in groups(2).values()} == {0}


def test_without_any_confidence_the_page_does_not_sort_by_it(page, browse):
    assert '<option value="confidence">' in browse()
    text = page.read_text(encoding="utf-8")
    try:
        page.write_text(
            re.sub(
                r'"stage_2":\[(null|0?\.\d+|1\.0)(,(null|0?\.\d+|1\.0))*\]', '"stage_2":[]', text
            ),
            encoding="utf-8",
        )
        dom = browse("#sort=confidence")
        assert '<option value="confidence">' not in dom and rows(dom) == [3, 2, 4, 1, 0]
    finally:
        page.write_text(text, encoding="utf-8")


def test_an_upright_frame_and_another_unit(tmp_path):
    """Frames of 96 x 128 px, errors in box sides: what the page is given to draw them by."""
    skeleton = replace(LSP, unit="box", unit_name="box sides")
    images = np.zeros((2, 128, 96, 3), np.uint8)
    true = np.full((2, 14, 2), 20.0)
    report.write(
        tmp_path / "report.html",
        "r",
        "",
        [],
        {},
        images,
        ["a", "b"],
        {"stage_1": true + 1, "true": true},
        skeleton,
        np.array([64.0, np.nan]),
        {"stage_1": np.full((2, 14), 0.456)},
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = json.loads(re.search('id="data">(.*?)</script>', text)[1])
    assert data["frame"] == [96, 128] and data["unit"] == "box sides"
    assert [image["unit"] for image in data["images"]] == [64, None]
    assert data["images"][0]["confidence"] == {"stage_1": [0.46] * 14}
    assert "mean error over the labelled joints in box sides" in text


def test_clicks_and_keys(browse):
    """A click on the second image, two steps on with the arrow, stage 1 and the truth off with
    their keys; then Esc."""
    script = """
        const press = key => at("large").dispatchEvent(new KeyboardEvent("keydown", {key}));
        document.querySelectorAll(".thumb")[1].click();
        ["ArrowRight", "ArrowRight", "1", "t"].forEach(press);"""
    dom = browse("", script)
    dialog = dom[dom.index("<dialog") : dom.index("</dialog>")]
    assert f"{html.escape(NASTY, quote=False)} 1</strong>" in dialog  # 3, 2, 4, 1, 0 is the order
    assert '<g class="stage-2">' in dialog and not re.search('<g class="(stage-1|true)">', dialog)
    script += (
        'at("close").click(); at("sort").value = "row"; at("sort").onchange({target: at("sort")});'
    )
    dom = browse("", script)
    assert not re.search(r"<dialog[^>]* open", dom) and rows(dom) == [4, 3, 2, 1, 0]


def test_no_name_breaks_the_page_and_nothing_is_fetched(browse, page):
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == 2 and "{{" not in text.replace("{{data}}.jpg", "")
    assert (
        not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)""", text)
        and "default-src 'none'" in text
    )
    title = re.search("<title>(.*?)</title>", browse())[1]
    assert html.unescape(title) == NASTY


def test_a_thousand_images_take_less_than_15_mb(data, tmp_path):
    images = np.concatenate([data.test_images] * 100)
    images = np.bitwise_xor(images, np.arange(len(images), dtype=np.uint8)[:, None, None, None] % 8)
    true = np.concatenate([data.test_labels] * 100)
    report.write(
        tmp_path / "report.html",
        "r",
        "",
        [],
        {},
        images,
        ["test row"] * len(images),
        {"stage_1": true + 1, "stage_2": true + 2, "true": true},
        LSP,
        LSP.units_px(true, None),
        {stage: np.full((1000, 14), 0.123) for stage in ("stage_1", "stage_2")},
    )
    assert (tmp_path / "report.html").stat().st_size < 13e6  # and 2 MB for the pictures
