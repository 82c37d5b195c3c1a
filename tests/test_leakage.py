"""Images that a model was trained on and is tested with: recorded, refused, or marked where that is
wanted."""

import json
import re

import numpy as np
import pytest
import torch
from helpers import FP32, SMALL, fails, reseal, write_model, write_refiner

import Generate_train_output
import LSP_data
import test_stage_1
import test_stage_2
import Train_stage_1
from Cascade_1_net import Alex_net_c1
from deeppose import arrays, files, leakage
from deeppose.dataset import open_dataset
from deeppose.people import Job, Row
from deeppose.shell import InputError
from deeppose.skeletons import LSP
from deeppose.stage_1 import Stage_1

TESTS = (test_stage_1, Generate_train_output, test_stage_2)  # steps 3, 4 and 6


def rows_of(*identities):
    return np.array(identities, np.int64).reshape(-1, 3)


@pytest.mark.parametrize(
    "rows, texts",
    [
        ([], {}),
        ([(1, 7, 0)], {"1": "7"}),
        (
            [(2, 9, 0), (1, 3, 0), (1, 1, 0), (1, 2, 0), (1, 3, 0), (2, 8, 0), (1, 5, 0)],
            {"1": "1-3,5", "2": "8-9"},
        ),
        ([(1, 4, 2), (1, 4, 1), (1, 4, 4), (1, 5, 5), (1, 2, 0)], {"1": "2,4:1-2,4:4,5:5"}),
        ([(3, 139, 230831), (3, 139, 230832), (3, 581929, 1)], {"3": "139:230831-230832,581929:1"}),
    ],
)
def test_rows_are_described_by_set_and_image_and_found_again(rows, texts):
    rows = rows_of(*rows)
    assert leakage.describe(rows) == texts
    around = {(number, image + step) for number, image, _ in rows.tolist() for step in (-1, 0, 1)}
    assert leakage.named(texts, around) == sorted(leakage.images_of(rows))


def test_many_images_are_described_in_a_few_letters_and_found_again():
    rng = np.random.default_rng(0)
    rows = np.column_stack(
        [rng.integers(1, 4, 3000), rng.integers(0, 2000, 3000), rng.integers(0, 3, 3000)]
    )
    all_images = {(number, image) for number in range(5) for image in range(2100)}
    assert leakage.named(leakage.describe(rows), all_images) == sorted(leakage.images_of(rows))
    whole = np.column_stack([np.ones(10_000, int), np.arange(1, 10_001), np.zeros(10_000, int)])
    assert leakage.describe(whole) == {"1": "1-10000"}


def test_spans_in_any_order_that_overlap_and_are_enormous():
    """A .json that was edited by hand takes neither the memory nor the truth."""
    texts = {"1": f"50-60,10-{10**15},20-30,5"}
    assert leakage.named(texts, {(1, 4), (1, 5), (1, 9), (1, 45), (1, 10**9), (2, 45)}) == [
        (1, 5),
        (1, 45),
        (1, 10**9),
    ]


def test_rows_whose_image_is_in_training_are_counted():
    train = rows_of((1, 1, 0), (1, 2, 1), (2, 3, 0))
    assert leakage.seen_in_training(train, rows_of((1, 3, 0), (2, 1, 0))) == 0
    assert leakage.seen_in_training(train, rows_of((1, 2, 5), (1, 2, 6), (2, 3, 0), (1, 3, 0))) == 3


@pytest.fixture
def models(own_workdir):
    """A working directory with a random stage 1 and a refiner, neither of known origin."""
    torch.manual_seed(0)
    write_model(own_workdir)
    network = Alex_net_c1(14, (LSP.index("head"),))
    network.gain.zero_()
    write_refiner(own_workdir, "head", network)
    return own_workdir


def tell(folder, facts):
    """Have model_1.json say these facts as well."""
    path = folder / "model_1.json"
    files.save_json(path, json.loads(path.read_text()) | facts)


def test_step_2_records_the_images_of_the_rows_that_it_trains_on(own_workdir, data):
    Train_stage_1.main(
        [
            "--workdir",
            str(own_workdir),
            "--weights",
            "none",
            "--input-px",
            "64",
            "--epochs",
            "1",
            *FP32,
            "--batch-size",
            "64",
        ]
    )
    found = json.loads((own_workdir / "model_1.json").read_text())["trained_on"]
    rows = np.load(own_workdir / "train_rows.npy")[data.trained_on]
    expected = {(int(number), int(image)) for number, image in rows[:, :2]}
    everything = {(number, image) for number in (1, 2) for image in range(30)}
    assert leakage.named(found, everything) == sorted(expected)
    assert found == {"1": "2-5,7-10", "2": "1-14"}  # every fifth of LSP's ten is held out
    leakage.check_model(own_workdir / "model_1.pt", data)


def test_what_an_initial_model_learnt_from_counts_as_well(own_workdir, data, tmp_path):
    """A model that began from one that saw a test image has seen it, through any number of them."""
    former = tmp_path / "former"
    former.mkdir()
    write_model(former)
    known = json.loads((former / "model_1.json").read_text())
    known |= {
        "trained_on": {"1": "2"},
        "sets": data.facts["sets"],
        "ancestors": [{"trained_on": {"1": "12"}, "sets": data.facts["sets"]}],
    }
    files.save_json(former / "model_1.json", known)
    here = ["--workdir", str(own_workdir), "--weights", str(former)]
    Train_stage_1.main([*here, "--input-px", "64", "--epochs", "1", "--rows", "2", *SMALL])
    facts = json.loads((own_workdir / "model_1.json").read_text())
    nearest, before = facts["ancestors"]
    assert nearest["trained_on"] == {"1": "2"} and before["trained_on"] == {"1": "12"}
    assert nearest["digest"] == arrays.digest(former / "model_1.pt")
    with pytest.raises(InputError, match="such as image 12 of set 1"):
        leakage.check_model(own_workdir / "model_1.pt", data)
    # so it has where one of the two had further sets
    before["sets"] = data.facts["sets"] | {"3": "MPII"}
    files.save_json(own_workdir / "model_1.json", facts)
    with pytest.raises(InputError, match="such as image 12 of set 1"):
        leakage.check_model(own_workdir / "model_1.pt", data)
    # the numbers of another data set mean other images
    before["sets"] = {"1": "another"}
    files.save_json(own_workdir / "model_1.json", facts)
    leakage.check_model(own_workdir / "model_1.pt", data)


def test_step_2_records_only_the_images_of_its_rows(own_workdir):
    Train_stage_1.main(
        [
            "--workdir",
            str(own_workdir),
            "--weights",
            "none",
            "--input-px",
            "64",
            "--epochs",
            "1",
            "--rows",
            "2",
            *SMALL,
        ]
    )
    found = json.loads((own_workdir / "model_1.json").read_text())["trained_on"]
    numbers = [number for text in found.values() for number in re.split("[-,]", text)]
    assert 1 <= len(numbers) <= 2


def test_step_2_wants_the_rows_before_it_trains(own_workdir, capsys):
    flags = [
        "--workdir",
        own_workdir,
        "--weights",
        "none",
        "--input-px",
        "64",
        "--epochs",
        "1",
        *SMALL,
    ]
    rows = np.load(own_workdir / "train_rows.npy")
    (own_workdir / "train_rows.npy").unlink()
    fails(Train_stage_1.main, flags, capsys, "train_rows.npy", "step 1")
    np.save(own_workdir / "train_rows.npy", rows + 1)
    fails(Train_stage_1.main, flags, capsys, "train_rows.npy", "dataset.json", "step 1")
    rows[3, 1] = np.nan
    np.save(own_workdir / "train_rows.npy", rows)
    facts = (own_workdir / "dataset.json").read_text()
    (own_workdir / "dataset.json").unlink()
    (own_workdir / "dataset.json").write_text(facts)
    reseal(own_workdir)
    fails(Train_stage_1.main, flags, capsys, "train_rows.npy", "row 3", "step 1")


@pytest.mark.parametrize("step", TESTS)
@pytest.mark.parametrize(
    "texts, said",
    [
        ({"1": "2-5,13"}, ("(1, such as image 13 of set 1)",)),  # 11 to 20 are tested on
        ({"2": "1-14", "1": "6"}, ("(1, such as image 6 of set 1)",)),  # 1 and 6 are held out
        ({"1": "1-20"}, ("(12, such as image 1 of set 1)",)),
    ],
)
def test_a_model_that_was_trained_on_what_is_tested_here_is_refused(
    step, texts, said, models, capsys
):
    tell(models, {"trained_on": texts})
    fails(
        step.main,
        ["--workdir", models, *FP32],
        capsys,
        "model_1.pt",
        "dataset.json",
        "step 2",
        *said,
    )
    assert not list(models.glob("*output*")) and not list(models.glob("metrics*"))


@pytest.mark.parametrize("step", TESTS)
def test_a_model_of_another_folder_is_refused_as_well(step, models, tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("elsewhere")
    write_model(folder, trained_on={"1": "13"})
    fails(
        step.main,
        ["--workdir", models, "--model", folder, *FP32],
        capsys,
        folder / "model_1.pt",
        "(1, such as image 13 of set 1)",
    )


def test_identities_are_of_the_columns_that_dataset_json_names(own_workdir, data):
    expected = data.identities("test")
    facts = json.loads((own_workdir / "dataset.json").read_text())
    facts["columns"] = facts["columns"][::-1]
    (own_workdir / "dataset.json").unlink()
    files.save_json(own_workdir / "dataset.json", facts)
    for part in ("train", "test"):
        rows = np.load(own_workdir / f"{part}_rows.npy")
        (own_workdir / f"{part}_rows.npy").unlink()
        np.save(own_workdir / f"{part}_rows.npy", rows[:, ::-1])
    reseal(own_workdir)
    assert np.array_equal(open_dataset(own_workdir).identities("test"), expected)


@pytest.mark.parametrize(
    "texts",
    [
        {"1": "x"},
        {"1": "3-"},
        {"one": "3"},
        {"1": 3},
        ["1"],
        7,
        {"1": "9" * 30},
        {"1": "9" * 5000},
        {"1": ","},
        {"1": "3:"},
    ],
)
def test_images_that_are_named_in_no_known_way_are_one_line(texts, own_workdir, data):
    files.save_json(own_workdir / "model_1.json", {"trained_on": texts})
    with pytest.raises(InputError, match="model_1.json: its trained_on names no images; .*step 2"):
        leakage.check_model(own_workdir / "model_1.pt", data)


def test_a_model_from_another_dataset_json_is_one_warning(models, monkeypatch, capsys):
    other = {"train_images.npy": "0" * 64}
    tell(models, {"settings": {"dataset": other}, "trained_on": {"1": "2-5", "7": "1-99"}})
    monkeypatch.setattr(
        Stage_1,
        "predict",
        lambda model, frames, rows, *_, **__: (
            np.zeros((len(rows), 14, 2), np.float32),
            np.ones((len(rows), 14), np.float32),
        ),
    )
    for step in TESTS:
        monkeypatch.setattr(step, "draw", lambda *_: {}, raising=False)
        step.main(["--workdir", str(models), *FP32])
        warnings = [
            line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")
        ]
        assert len(warnings) == 1 and "model_1.pt" in warnings[0] and "dataset.json" in warnings[0]


@pytest.mark.parametrize(
    "known", [None, {}, {"settings": {}}, {"settings": 3, "trained_on": None}, {"trained_on": {}}]
)
def test_a_model_that_names_no_images_passes_with_nothing_said(known, own_workdir, data, capsys):
    if known is not None:
        files.save_json(own_workdir / "model_1.json", known)
    leakage.check_model(own_workdir / "model_1.pt", data)
    assert capsys.readouterr().out == ""


def test_a_model_of_this_dataset_passes_with_nothing_said(models, data, capsys):
    texts = leakage.describe(data.identities("train")[data.trained_on])
    tell(models, {"settings": {"dataset": data.digests}, "trained_on": texts})
    leakage.check_model(models / "model_1.pt", data)
    assert capsys.readouterr().out == ""


@pytest.fixture
def overlapping(photos, tmp_path, monkeypatch, capsys):
    """A working directory whose training rows show two of the test images, 12 and 13; and what step
    1 said."""
    plan = LSP_data.plan

    def with_test_images(lsp, *rest):
        jobs = plan(lsp, *rest)
        for image in (12, 13):
            name, opener = lsp.openers[image]
            row = Row(lsp.joints[image - 1])
            jobs.append(
                Job("train", lsp.number, image, name, f"{lsp.place}/{name}", opener, (row,))
            )
        return jobs

    folder = tmp_path / "overlapping"
    with monkeypatch.context() as patch:
        patch.setattr(LSP_data, "plan", with_test_images)
        LSP_data.main(["--source", str(photos), "--workdir", str(folder)])
    return folder, capsys.readouterr().out


def test_step_1_says_and_records_test_rows_that_are_seen_in_training(overlapping, workdir):
    folder, said = overlapping
    assert "warning: 2 of the 10 test rows" in said and "seen in training" in said
    assert json.loads((folder / "dataset.json").read_text())["seen_in_training"] == 2
    assert open_dataset(folder).seen_in_training == 2
    assert "seen_in_training" not in json.loads((workdir / "dataset.json").read_text())
    assert open_dataset(workdir).seen_in_training == 0


def test_images_that_this_dataset_has_in_both_parts_are_not_refused(overlapping, capsys):
    folder, _ = overlapping
    data = open_dataset(folder)
    texts = leakage.describe(data.identities("train")[data.trained_on])
    files.save_json(folder / "model_1.json", {"trained_on": texts})
    leakage.check_model(folder / "model_1.pt", data)
    files.save_json(folder / "model_1.json", {"trained_on": {"1": "12-14"}})
    with pytest.raises(InputError, match=r"\(1, such as image 14 of set 1\)"):
        leakage.check_model(folder / "model_1.pt", data)


def score(folder, monkeypatch, capsys):
    """For steps 3 and 6 what each prints, but the paths, and its metrics_stage_N.json; no pictures
    are drawn."""
    found = []
    for step, stage in ((test_stage_1, 1), (test_stage_2, 2)):
        monkeypatch.setattr(step, "draw", lambda *_: {})
        step.main(["--workdir", str(folder), *FP32])
        said = [line for line in capsys.readouterr().out.splitlines() if "/" not in line]
        found.append((said, json.loads((folder / f"metrics_stage_{stage}.json").read_text())))
    return found


def test_every_score_of_seen_images_is_marked(overlapping, models, monkeypatch, capsys):
    folder, _ = overlapping
    for path in models.glob("model_*"):
        (folder / path.name).symlink_to(path)
    mark = "seen in training: 2 of these 10 test rows"
    for said, scores in score(folder, monkeypatch, capsys):
        assert [mark in line for line in said].count(True) == 4  # a table each
        assert scores["seen_in_training"] == 2 and max(map(len, said)) <= 100
    page = (folder / "report.html").read_text(encoding="utf-8")
    (subtitle,) = re.findall("10 test rows from .*", page)
    assert mark in subtitle and page.count(mark) == 5


def test_step_3s_report_is_marked_where_there_is_no_refiner_yet(overlapping, monkeypatch):
    folder, _ = overlapping
    write_model(folder)
    monkeypatch.setattr(test_stage_1, "draw", lambda *_: {})
    test_stage_1.main(["--workdir", str(folder), *FP32])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("seen in training: 2 of these 10 test rows") == 5


def test_scores_of_unseen_images_are_not_marked(models, monkeypatch, capsys):
    for said, scores in score(models, monkeypatch, capsys):
        assert "seen in training" not in "".join(said) and "seen_in_training" not in scores
    assert "seen in training" not in (models / "report.html").read_text(encoding="utf-8")
