"""OKS, its suppression of duplicates and its ten scores: against literal loops, and COCO's own
numbers."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from literal import literal_nms, literal_oks, literal_rescore

from deeppose import coco_scores, oks
from deeppose.coco_skeletons import COCO, POSETRACK
from deeppose.shell import InputError, RunError

# the real set, where it is at hand
REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "coco"
VAL = REAL / "annotations" / "person_keypoints_val2017.json"


def people(seed, count=30, missing=0.3):
    """Predicted and true joints (N, 17, 2) px, and areas (N,) px^2."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(0, 400, (count, 17, 2))
    predicted = true + rng.normal(0, 15, true.shape)
    true[rng.random((count, 17)) < missing] = np.nan
    return predicted, true, rng.uniform(500, 50_000, count)


@pytest.fixture
def real():
    if not VAL.is_file():
        pytest.skip("the real COCO images are not at hand")
    return json.loads(VAL.read_text())


@pytest.fixture
def made():
    """Content of a file with two images, one person on the first, one without joints on the
    second."""
    keypoints = [[10 * j, 5 * j, 1 + j % 2] for j in range(17)]
    return {
        "images": [{"id": 7}, {"id": 3}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": 0,
                "image_id": 7,
                "category_id": 1,
                "keypoints": sum(keypoints, []),
                "bbox": [0, 0, 160, 80],
                "area": 7000,
                "num_keypoints": 17,
                "iscrowd": 0,
            },
            {
                "id": 1,
                "image_id": 3,
                "category_id": 1,
                "keypoints": [0] * 51,
                "bbox": [0, 0, 50, 50],
                "area": 1500,
                "num_keypoints": 0,
                "iscrowd": 0,
            },
        ],
    }


def perfect(content):
    """Results that are the true joints, a result each person with labelled joints."""
    return [
        {
            "image_id": entry["image_id"],
            "category_id": 1,
            "score": 0.9,
            "keypoints": entry["keypoints"],
        }
        for entry in content["annotations"]
        if any(entry["keypoints"][2::3]) and not entry.get("iscrowd")
    ]


@pytest.mark.parametrize("seed", range(4))
def test_oks_equals_a_literal_loop(seed):
    predicted, true, areas = people(seed, missing=0.3 * (seed % 2))
    true[3] = np.nan
    expected = [literal_oks(p, t, COCO.sigmas, area) for p, t, area in zip(predicted, true, areas)]
    np.testing.assert_allclose(oks.oks(predicted, true, COCO.sigmas, areas), expected, atol=1e-12)
    assert np.isnan(expected[3])


def test_oks_by_hand():
    """At a distance of 2 sigma sqrt(area), here 100 px, a joint is worth exp(-1/2)."""
    true = np.zeros((1, 2, 2))
    predicted = np.array([[[0, 0], [60, 80]]], float)
    assert oks.oks(predicted, true, (0.5, 0.5), [100.0**2]) == pytest.approx(
        [(1 + np.exp(-0.5)) / 2]
    )


def test_oks_of_what_is_missing():
    predicted, true, areas = people(1, missing=0)
    predicted[0, :] = np.nan
    areas[1] = np.nan
    values = oks.oks(predicted, true, COCO.sigmas, areas)
    assert values[0] == 0 and np.isnan(values[1]) and not np.isnan(values[2:]).any()
    np.testing.assert_array_equal(oks.oks(true, true, COCO.sigmas, np.zeros(len(true))), 1)
    assert oks.oks(true[:0], true[:0], COCO.sigmas, areas[:0]).shape == (0,)
    with pytest.raises(ValueError, match="two equal"):
        oks.oks(predicted[:, :5], true, COCO.sigmas, areas)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_nms_equals_a_literal_loop(seed, threshold):
    rng = np.random.default_rng(seed)
    persons = rng.uniform(0, 300, (4, 17, 2))
    joints = persons[rng.integers(4, size=25)] + rng.normal(0, 2.5, (25, 17, 2))
    scores = rng.random(25).round(1)  # with ties
    areas = rng.uniform(5_000, 20_000, 25)
    kept = oks.nms(joints, scores, areas, COCO.sigmas, threshold)
    assert kept == literal_nms(joints, scores, areas, COCO.sigmas, threshold)
    assert 4 <= len(kept) < 25, "some of them are duplicates"


def test_nms_of_nothing_and_of_one():
    assert oks.nms(np.zeros((0, 17, 2)), [], [], COCO.sigmas) == []
    assert oks.nms(np.zeros((1, 17, 2)), [0.1], [100], COCO.sigmas) == [0]


def test_rescore_equals_a_literal_loop():
    rng = np.random.default_rng(0)
    peaks = rng.random((20, 17)) * rng.choice([0.1, 1], (20, 1))
    boxes = rng.random(20)
    expected = [literal_rescore(*row, 0.2) for row in zip(peaks, boxes)]
    np.testing.assert_allclose(oks.rescore(peaks, boxes), expected, atol=1e-12)
    assert min(expected) == 0 and max(expected) > 0


@pytest.mark.parametrize("case", ["case1", "case2", "case3"])
def test_ten_numbers_are_those_of_coco(real, case):
    expected = json.loads((REAL / "oks" / "expected.json").read_text())[case]
    results = json.loads((REAL / "oks" / f"{case}_results.json").read_text())
    for annotations in (VAL, real):
        scores = coco_scores.compute(annotations, results, COCO.sigmas)
        assert scores == pytest.approx(
            {name: expected[name] for name in coco_scores.NAMES}, abs=1e-6
        )


def test_true_joints_score_one(real, made):
    for content in (real, made):
        scores = coco_scores.compute(content, perfect(content), COCO.sigmas)
        assert (scores["AP"], scores["AR"]) == pytest.approx((1, 1))


def test_what_a_file_lacks_is_computed(made, capsys):
    scores = coco_scores.compute(made, perfect(made), COCO.sigmas)
    for entry in made["annotations"]:
        del entry["area"], entry["num_keypoints"], entry["iscrowd"]
    assert coco_scores.compute(made, perfect(made), COCO.sigmas) == pytest.approx(
        scores, nan_ok=True
    )
    for entry in made["annotations"]:
        del entry["bbox"]
    assert coco_scores.compute(made, perfect(made), COCO.sigmas)["AP"] == pytest.approx(1)
    assert capsys.readouterr().out == ""


def test_an_annotation_with_the_id_0_is_found(made):
    """pycocotools by itself takes a match with the id 0 for none."""
    assert made["annotations"][0]["id"] == 0
    assert coco_scores.compute(made, perfect(made), COCO.sigmas)["AP"] == pytest.approx(1)


def test_no_results_score_nothing(made):
    scores = coco_scores.compute(made, [], COCO.sigmas)
    assert scores["AP"] == scores["AR"] == 0
    assert np.isnan(scores["APl"])  # there is no large person
    made["annotations"] = []
    assert np.isnan(list(coco_scores.compute(made, [], COCO.sigmas).values())).all()


def test_another_skeleton_is_scored_with_its_sigmas():
    true = np.array([[10, 10, 2], [50, 10, 2], [50, 90, 1]], float)
    content = {
        "images": [{"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "keypoints": true.ravel().tolist(),
                "bbox": [0, 0, 60, 100],
                "area": 3000,
            }
        ],
    }
    off = true + [6, 0, 0]
    results = [{"image_id": 1, "category_id": 1, "score": 1, "keypoints": off.ravel().tolist()}]
    similarity = {
        sigma: oks.oks(off[None, :, :2], true[None, :, :2], (sigma,) * 3, [3000])[0]
        for sigma in (0.05, 0.2)
    }
    for sigma, value in similarity.items():
        passed = np.mean(value >= np.linspace(0.5, 0.95, 10))
        assert coco_scores.compute(content, results, (sigma,) * 3)["AP"] == pytest.approx(passed)
    assert similarity[0.2] > similarity[0.05]
    with pytest.raises(InputError, match="17 joints"):
        coco_scores.compute(content, results, POSETRACK.sigmas)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"image_id": 8}, "image 8"),
        ({"category_id": 2}, "category 2"),
        ({"image_id": []}, "form"),
        ({"keypoints": [1, 2, 3]}, "51 finite"),
        ({"score": float("nan")}, "finite score"),
        ({"keypoints": [float("nan")] * 51}, "finite"),
        ({"keypoints": None}, "finite"),
        ({"score": "much"}, "form"),
    ],
)
def test_bad_results_are_named(made, change, said):
    good = perfect(made)[0]
    with pytest.raises(InputError, match=said):
        coco_scores.compute(made, [good, good | change], COCO.sigmas)


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": 8},
        {"category_id": 2},
        {"keypoints": [1, 2, 3]},
        {"bbox": [1, 2]},
        {"area": float("nan")},
        {"bbox": "wide"},
        {"keypoints": {}, "image_id": []},
        {"num_keypoints": "many"},
    ],
)
def test_bad_annotations_are_named(made, change):
    made["annotations"][0].update(change)
    with pytest.raises(InputError, match="annotations: "):
        coco_scores.compute(made, [], COCO.sigmas)


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "bad.json").write_text('{"images": [')
    with pytest.raises(InputError, match="bad.json: is not JSON"):
        coco_scores.compute(tmp_path / "bad.json", [], COCO.sigmas)
    with pytest.raises(InputError, match="none.json: not found"):
        coco_scores.compute(tmp_path / "none.json", [], COCO.sigmas)


def test_without_pycocotools_one_line_says_so(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(RunError, match="pycocotools is not installed.*pip install"):
        coco_scores.compute(made, [], COCO.sigmas)
    predicted, true, areas = people(0)
    assert np.isfinite(oks.oks(predicted, true, COCO.sigmas, areas)).all()
