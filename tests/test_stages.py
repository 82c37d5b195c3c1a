"""A third stage: trained on what stage 2 makes of the training rows, scored beside the others."""

import json

import numpy as np
import pytest
import torch
from helpers import SMALL_CROPS, fails, weights, write_predictions

import test_stage_2
import Train_stage_2
from Cascade_1_net import Alex_net_c1
from deeppose import checkpoint, deltas, former_stage, metrics, runtime, workdir
from deeppose.dataset import open_dataset
from deeppose.examples import Boxing
from deeppose.loader import Frames
from deeppose.skeletons import LSP
from deeppose.stage_1 import Stage_1
from predict import load, predict
from Resnet_stage_1 import Resnet_stage_1

RUN = runtime.Runtime(torch.device("cpu"), "fp32")
CPU = ["--device", "cpu", "--precision", "fp32"]
DIRECT = ["--recipe", "original", "--crop-px", "227"]  # save_constant's
FEW = ["--rows", "2", "--epochs", "1", "--simulated", "2", *SMALL_CROPS]
BOXING = Boxing(LSP.crop_scale, 40)


def save_constant(path, x, y, gain=1.0):
    """A refiner of the joint that the path names, whose offset is (x, y) box sides for
    everything."""
    name = path.stem.removeprefix("model_").removeprefix("3_")
    torch.manual_seed(0)
    network = Alex_net_c1(LSP.joint_count, [LSP.index(name)], "direct")
    with torch.no_grad():
        network.offset.weight.zero_()
        network.offset.bias.copy_(torch.tensor([x, y]))
        network.gain.fill_(gain)
    checkpoint.save(
        path,
        checkpoint.weights_of(network),
        {
            "joints": [name],
            "options": {"head": "direct"},
            "crop_px": network.crop_px,
            "crop_scale": BOXING.scale,
            "smallest_crop_px": BOXING.smallest_px,
            "skeleton": LSP.described(),
        },
    )


@pytest.fixture
def cascaded(own_workdir):
    """A working directory with stage 1, its predictions, and a constant refiner for the head in
    stage 2."""
    torch.manual_seed(0)
    model = Stage_1(Resnet_stage_1(14), "resnet", LSP, (227, 227), 1.0, (227, 227))
    checkpoint.save(
        own_workdir / "model_1.pt",
        checkpoint.weights_of(model.network),
        model.described() | {"options": {"head": "integral"}},
    )
    write_predictions(own_workdir)
    save_constant(own_workdir / "model_head.pt", 0.1, -0.2, gain=0.5)
    return own_workdir


def test_stage_2s_predictions_of_the_training_rows(cascaded, capsys):
    data = open_dataset(cascaded)
    frames = Frames(data.train_images, RUN.device)
    predicted = workdir.load_output(cascaded, data)
    for again in (False, True):
        made = former_stage.predict(data, frames, predicted, RUN)
        # once made, it stays
        assert ("stage 2, joint by joint" in capsys.readouterr().out) != again
    first, second = (
        np.load(cascaded / f"train_output{name}.npy").reshape(-1, 14, 2) for name in ("", "_2")
    )
    np.testing.assert_array_equal(made, second)
    sides = BOXING.sides_px(first.astype(float), LSP)
    head = LSP.index("head")
    np.testing.assert_allclose(
        second[:, head] - first[:, head], sides[:, None] * [0.05, -0.1], atol=1e-3
    )
    np.testing.assert_array_equal(np.delete(second, head, 1), np.delete(first, head, 1))
    save_constant(cascaded / "model_head.pt", 0.1, 0.2)
    former_stage.predict(data, frames, predicted, RUN)
    assert "stage 2, joint by joint" in capsys.readouterr().out  # another stage 2: made anew
    third = np.load(cascaded / "train_output_2.npy").reshape(-1, 14, 2)
    np.testing.assert_allclose(
        third[:, head] - first[:, head], sides[:, None] * [0.1, 0.2], atol=1e-3
    )
    (cascaded / "train_output_2.json").write_text("{")
    former_stage.predict(data, frames, predicted, RUN)
    assert "stage 2, joint by joint" in capsys.readouterr().out  # not known what of: made anew


def test_stage_3_learns_from_stage_2_and_its_errors_and_all_are_scored(cascaded, data, capsys):
    own = ["--workdir", str(cascaded)]
    before = (cascaded / "model_head.pt").read_bytes()
    Train_stage_2.main([*own, "--stage", "3", "--joints", "head", *FEW])
    assert (cascaded / "model_head.pt").read_bytes() == before and (
        cascaded / "curves_3_head.csv"
    ).exists()
    second = np.load(cascaded / "train_output_2.npy").reshape(-1, 14, 2)
    drawn = deltas.draw(second[data.held_out], data.train_labels[data.held_out], LSP, 0)
    np.testing.assert_array_equal(np.load(cascaded / "deltas_3.npy"), drawn)
    save_constant(cascaded / "model_3_head.pt", -0.1, 0.0)
    capsys.readouterr()
    test_stage_2.main([*own, *CPU])
    assert "stage 3, joint by joint" in capsys.readouterr().out
    assert (cascaded / "pdj_stage_2.png").exists() and not (
        cascaded / "learning_stage_2.png"
    ).exists()
    outputs = [
        np.load(cascaded / f"test_output_{stage}.npy").reshape(-1, 14, 2) for stage in (2, 3)
    ]
    moved = outputs[1] - outputs[0]
    head = LSP.index("head")
    sides = BOXING.sides_px(outputs[0].astype(float), LSP)  # stage 3's boxes are of stage 2's poses
    np.testing.assert_allclose(moved[:, head], sides[:, None] * [-0.1, 0], atol=1e-3)
    assert not np.delete(moved, head, 1).any()
    scores = json.loads((cascaded / "metrics_stage_2.json").read_text())
    assert {"stage_1", "stage_2", "stage_3", "gains_stage_3"} <= set(scores)
    second, third = (joints.astype(float) for joints in outputs)
    true = data.test_labels.astype(float)
    ends = metrics.intervals(third, true, LSP, data.sizes("test"), before=second)["auc"]
    assert scores["intervals"]["gained_by_stage_3"]["auc"] == pytest.approx(ends, abs=1e-6)
    assert scores["intervals"]["gained"] != scores["intervals"]["gained_by_stage_2"]
    assert (
        scores["gains_stage_3"]["head"] == 1
        and scores["gains"]["head"] == 0.5
        and scores["gains"]["neck"] is None
    )


def test_refiners_that_learnt_from_another_former_stage_are_said(cascaded, data, capsys):
    own = ["--workdir", str(cascaded)]
    third = [*own, "--stage", "3", "--joints", "head", *FEW]
    Train_stage_2.main(third)
    assert (
        workdir.stale_refiners(cascaded, data, 2) == workdir.stale_refiners(cascaded, data, 3) == []
    )
    errors = np.load(cascaded / "deltas_3.npy")
    save_constant(cascaded / "model_head.pt", 0.1, 0.2)  # stage 2, trained anew
    capsys.readouterr()
    test_stage_2.main([*own, *CPU])
    assert (
        "warning: stage 3's refiners of head learnt from what an earlier stage 2"
        in capsys.readouterr().out
    )
    Train_stage_2.main(third)
    assert workdir.stale_refiners(cascaded, data, 3) == []
    # of the new stage 2
    assert (np.load(cascaded / "deltas_3.npy") != errors)[LSP.index("head")].any()


def test_stage_3_wants_a_stage_2(cascaded, capsys):
    (cascaded / "model_head.pt").unlink()
    fails(
        Train_stage_2.main,
        ["--workdir", cascaded, "--stage", "3", *FEW],
        capsys,
        "model_right_ankle.pt",
        "step 5",
    )


def test_a_refiner_may_start_from_the_opposite_joints_mirrored(cascaded, capsys):
    own = [
        "--workdir",
        str(cascaded),
        "--make-deltas",
        "--weights",
        "opposite",
        *FEW,
        "--crop-px",
        "129",
    ]
    fails(
        Train_stage_2.main,
        [*own, "--joints", "left_elbow"],
        capsys,
        "model_right_elbow.pt",
        "not found",
    )
    fails(Train_stage_2.main, [*own, "--joints", "head"], capsys, "head has no opposite")
    Train_stage_2.main([*own, "--weights", "none", "--joints", "right_elbow"])
    Train_stage_2.main([*own, "--joints", "left_elbow"])
    facts = json.loads((cascaded / "model_left_elbow.json").read_text())
    assert facts["initial_weights"] == "file model_right_elbow.pt, mirrored"
    there, here = weights(cascaded, "model_right_elbow"), weights(cascaded, "model_left_elbow")
    torch.testing.assert_close(
        here["features.0.weight"], there["features.0.weight"].flip(3), atol=0.01, rtol=0
    )
    assert facts["joints"] == ["left_elbow"]


def test_a_refiner_may_start_from_another_joints(cascaded, capsys):
    own = ["--workdir", str(cascaded), "--make-deltas", *FEW]
    Train_stage_2.main(
        [*own, "--joints", "neck", "--weights", str(cascaded / "model_head.pt"), *DIRECT]
    )
    facts = json.loads((cascaded / "model_neck.json").read_text())
    assert facts["initial_weights"] == "file model_head.pt" and facts["settings"]["simulated"] == 2
    there, here = weights(cascaded, "model_head"), weights(cascaded, "model_neck")
    torch.testing.assert_close(
        here["features.0.weight"], there["features.0.weight"], atol=0.02, rtol=0
    )
    Train_stage_2.main([*own, "--stage", "3", "--joints", "head", "--weights", "former", *DIRECT])
    assert (
        json.loads((cascaded / "model_3_head.json").read_text())["initial_weights"]
        == "file model_head.pt"
    )
    fails(
        Train_stage_2.main,
        [*own, "--joints", "neck", "--weights", cascaded / "model_1.pt"],
        capsys,
        "model_1.pt",
    )
    fails(
        Train_stage_2.main,
        [*own, "--joints", "neck", "--weights", cascaded / "model_head.pt"],
        capsys,
        "integral",
    )
    fails(
        Train_stage_2.main,
        [*own, "--stage", "3", "--joints", "head,right_ankle", "--weights", "former"],
        capsys,
        "model_right_ankle.pt",
        "not found",
    )  # before the head is trained
    fails(Train_stage_2.main, [*own, "--weights", "former"], capsys, "former", "--stage 3")
    for wrong in ("-1", "41"):
        with pytest.raises(SystemExit) as stop:
            Train_stage_2.main([*own, "--simulated", wrong])
        assert stop.value.code == 2


def test_photographs_go_through_all_stages(cascaded, data):
    save_constant(cascaded / "model_3_head.pt", -0.1, 0.0)
    (found,) = predict(load(cascaded, "cpu", "fp32"), [np.asarray(data.test_images[0])])
    head, others = LSP.index("head"), np.delete(np.arange(14), LSP.index("head"))
    sides = [BOXING.sides_px(found[stage], LSP) for stage in ("stage_1", "stage_2")]
    first, second, third = (found[f"stage_{stage}"][0, head] for stage in (1, 2, 3))
    np.testing.assert_allclose(second - first, sides[0] * [0.05, -0.1], atol=0.01)
    np.testing.assert_allclose(third - second, sides[1] * [-0.1, 0], atol=0.01)
    np.testing.assert_allclose(found["stage_3"][:, others], found["stage_1"][:, others], atol=1e-3)
