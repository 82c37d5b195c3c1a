"""The test scripts' output beside the scores themselves: intervals, the flip test, a
further threshold."""

import json

import numpy as np
import pytest
import torch
from helpers import FP32, reseal, write_model

import test_stage_1
from deeppose import geometry, networks, runtime, scoring
from deeppose.loader import Frames
from deeppose.skeletons import LSP
from Resnet_stage_1 import Resnet_stage_1


@pytest.fixture
def trained(own_workdir):
    """A working directory with a random stage 1 whose predictions differ from image to image, if by
    far too much."""
    torch.manual_seed(0)
    network = Resnet_stage_1(14, "direct")
    network.joints.weight.data *= 30
    write_model(own_workdir, network)
    return own_workdir


def score(trained, *flags):
    test_stage_1.main(["--workdir", str(trained), *FP32, *flags])
    return (
        json.loads((trained / "metrics_stage_1.json").read_text()),
        np.load(trained / "test_output_1.npy").reshape(-1, 14, 2),
    )


def test_intervals_threshold_and_pictures(trained, capsys):
    scores, _ = score(trained, "--threshold", "0.33")
    said = capsys.readouterr().out
    assert "PDJ@0.33" in said and "this run, mean pose" in said and "Pishchulin" in said
    assert "curves_stage_1" not in said  # nothing was trained here
    assert scores["flip_test"] is False and set(scores["stage_1"]["pdj_per_joint_0.33"]) == set(
        LSP.joints
    )
    intervals = scores["intervals"]
    assert intervals["per_cent"] == 95 and set(intervals["stage_1"]) == set(scores["stage_1"]) - {
        "never_labelled"
    }
    for kind in ("pcp_strict", "pdj"):
        for key, (low, high) in intervals["stage_1"][kind].items():
            assert low <= scores["stage_1"][kind][key] <= high


def test_the_flip_test_is_the_mean_of_an_image_and_its_mirror(trained, data):
    scores, flipped = score(trained, "--flip-test")
    assert scores["flip_test"] is True
    run = runtime.Runtime(torch.device("cpu"), "fp32")
    model, _ = networks.load(trained, run, data)
    rows = np.arange(len(data.test_images))
    images, mirrors = (
        Frames(np.ascontiguousarray(data.test_images[:, :, ::way]), run.device) for way in (1, -1)
    )
    one, other = (model.predict(frames, rows, run)[0] for frames in (images, mirrors))
    assert abs(one - flipped).max() > 1
    other[..., 0] = 227 - other[..., 0]
    np.testing.assert_allclose(flipped, (one + other[:, list(LSP.flip)]) / 2, atol=1e-3)
    # So the mirrors' own poses are the mirrored ones: left and right cannot be told by the side
    # they stand on.
    back = geometry.mirror(model.predict(mirrors, rows, run, flip_test=True)[0], 227, LSP.flip)
    np.testing.assert_allclose(back, flipped, atol=1e-3)


def test_the_flip_tests_confidence_is_the_mean_of_both(own_workdir, data):
    """Of a head that tells how sure it is: left and right change places in the mirror image's
    too."""
    torch.manual_seed(0)
    network = Resnet_stage_1(14)
    network.heatmaps.joints.weight.data *= 100
    write_model(own_workdir, network)
    test_stage_1.main(["--workdir", str(own_workdir), *FP32, "--flip-test"])
    found = np.load(own_workdir / "test_confidence_1.npy")
    assert found.dtype == np.float32 and found.shape == (len(data.test_images), 14)
    run = runtime.Runtime(torch.device("cpu"), "fp32")
    model, _ = networks.load(own_workdir, run, data)
    rows = np.arange(len(found))
    one, other = (
        model.predict(
            Frames(np.ascontiguousarray(data.test_images[:, :, ::way]), run.device), rows, run
        )[1]
        for way in (1, -1)
    )
    assert 0 <= found.min() < found.max() <= 1
    np.testing.assert_allclose(found, (one + other[:, list(LSP.flip)]) / 2, atol=1e-4)


@pytest.mark.parametrize("threshold", ["-1", "nan", "inf", "wide"])
def test_a_threshold_that_is_no_distance(threshold, capsys):
    with pytest.raises(SystemExit) as stop:
        scoring.parser("").parse_args([f"--threshold={threshold}"])
    assert stop.value.code == 2 and "--threshold" in capsys.readouterr().err


def test_labels_that_are_all_missing_are_one_line(trained, capsys):
    labels = np.load(trained / "test_labels.npy")
    (trained / "test_labels.npy").unlink()
    np.save(trained / "test_labels.npy", np.full_like(labels, np.nan))
    reseal(trained)
    with pytest.raises(SystemExit) as stop:
        score(trained)
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and "test_labels.npy: no image has the labels" in line
    assert not (trained / "metrics_stage_1.json").exists()
