"""curves_stage_1.csv: every score of the held-out rows and of some that are trained on, by epoch
and between."""

import json

import numpy as np
import pytest
import torch
from helpers import SMALL, same, weights
from literal import literal_pck, literal_pcp

import Train_stage_1
from deeppose import csv_files, curves, metrics, networks, runtime, training_plots
from deeppose.loader import Frames
from deeppose.skeletons import LSP

RUN = runtime.Runtime(torch.device("cpu"), "fp32")
# four steps an epoch
FLAGS = ["--weights", "none", "--rows", "8", "--epochs", "2", "--input-px", "64", *SMALL]


def table_of(folder):
    return csv_files.load_numbers(folder / "curves_stage_1.csv", training_plots.STAGE_1_CURVES)


def head_sizes(true):
    return np.linalg.norm(true[:, LSP.index("head")] - true[:, LSP.index("neck")], axis=1)


def literal_scores(predicted, true):
    """Columns of curves_stage_1.csv, from literal loops."""
    torso = np.linalg.norm(
        true[:, LSP.index("left_shoulder")] - true[:, LSP.index("right_hip")], axis=1
    )
    found = {f"pdj_{t}": literal_pck(predicted, true, torso, range(14), t) for t in (0.1, 0.2, 0.5)}
    for t in (0.1, 0.5):
        found[f"pckh_{t}"] = literal_pck(predicted, true, head_sizes(true), range(14), t)
        groups = [
            literal_pck(predicted, true, head_sizes(true), members, t)
            for members in LSP.joint_groups.values()
        ]
        found[f"pckh_symmetric_{t}"] = np.nanmean(groups)
    for kind in ("strict", "relaxed"):
        sticks = np.array(literal_pcp(predicted, true, LSP.sticks, 0.5, kind == "strict"))
        parts = {
            part: np.nanmean(sticks[[p == part for p in LSP.stick_parts]]) for part in LSP.limbs
        }
        limbs = [parts[part] for part in ("upper_arms", "lower_arms", "upper_legs", "lower_legs")]
        found[f"pcp_{kind}_mean_4"] = np.mean(limbs)
        found[f"pcp_{kind}_mean_6"] = np.mean([*limbs, parts["head"], parts["torso"]])
        found[f"pcp_{kind}_mean_10"] = np.nanmean(sticks)
    return found


def test_columns_are_the_scores_of_literal_loops():
    """With unlabelled joints, PCKh pooled and by group, PCP strict and relaxed, all to 1e-9."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 227, (60, 14, 2))
    predicted = true + rng.normal(0, 12, true.shape)
    true[rng.random((60, 14)) < 0.2] = np.nan
    scores = metrics.score(predicted, true, LSP, head_thresholds=curves.HEAD_THRESHOLDS)
    columns = metrics.columns(scores, LSP)
    # what the printed line shows, and chooses by
    assert list(columns)[:2] == ["pdj_0.2", "pcp_strict_mean_4"]
    expected = literal_scores(predicted, true)
    assert set(columns) == set(expected) | {"auc"}
    for name, value in expected.items():
        assert columns[name] == pytest.approx(value, abs=1e-9, rel=0), name
        assert 0.01 < value < 0.99, name


def test_an_epochs_row_is_of_the_held_out_rows_and_of_fixed_ones_that_are_trained_on(
    data, own_workdir, monkeypatch
):
    monkeypatch.setattr(curves, "SCORED_SHARE", 0.7)
    Train_stage_1.main(["--workdir", str(own_workdir), *FLAGS, "--epochs", "1"])
    header = (own_workdir / "curves_stage_1.csv").read_text().splitlines()[0].split(",")
    assert header[:6] == [
        "epoch",
        "step",
        "train_loss",
        "held_out_loss",
        "pdj_0.2",
        "pcp_strict_mean_4",
    ]
    table = table_of(own_workdir)
    assert (table["epoch"], table["step"]) == ([1], [4])
    rows = runtime.choose_rows(data.trained_on, 8, 0)  # as --rows 8 draws them
    some = runtime.choose_rows(rows, 6, 0)
    assert len(some) == 6 and set(some) <= set(rows)
    model, _ = networks.load(own_workdir, RUN, data)
    for begins, scored in (("", data.held_out), (metrics.TRAINED_ON, some)):
        joints, _ = model.predict(Frames(data.train_images, RUN.device), scored, RUN)
        expected = literal_scores(joints.astype(float), data.train_labels[scored].astype(float))
        for name, value in expected.items():
            np.testing.assert_allclose(
                table[begins + name], [value], atol=1e-6, err_msg=begins + name
            )
    facts = json.loads((own_workdir / "model_1.json").read_text())
    assert facts["held_out"]["pckh_0.1"] == pytest.approx(table["pckh_0.1"][0])


def test_how_many_rows_are_scored_goes_with_the_epoch(data, own_workdir, monkeypatch):
    """7 % of those that are trained on, and 1,000 at most."""
    scored = []

    def predict_rows(model, examples, data, rows, run):
        scored.append(len(rows))
        return data.train_labels[rows], 0.0

    monkeypatch.setattr(curves, "predict_rows", predict_rows)
    for count in (4, 90, 10_000, 30_000):
        rows = np.resize(data.trained_on, count)
        curves.of_trained_on(None, None, data, rows, 0, None)
    assert scored == [1, 6, 700, 1000]


def test_scores_between_the_ends_of_epochs_change_nothing_else(own_workdir):
    """Rows at the steps asked for; weights, the epoch chosen and the epochs' own rows stay as they
    were."""
    Train_stage_1.main(["--workdir", str(own_workdir), *FLAGS])
    expected, plain = weights(own_workdir, "model_1"), table_of(own_workdir)
    assert plain["epoch"].tolist() == [1, 2] and plain["step"].tolist() == [4, 8]
    Train_stage_1.main(["--workdir", str(own_workdir), *FLAGS, "--score-every", "3"])
    table = table_of(own_workdir)
    assert table["step"].tolist() == [3, 4, 6, 8] and table["epoch"].tolist() == [0.75, 1, 1.5, 2]
    assert same(expected, weights(own_workdir, "model_1"))
    for name, values in plain.items():
        np.testing.assert_array_equal(table[name][[1, 3]], values, err_msg=name)
    Train_stage_1.main(["--workdir", str(own_workdir), *FLAGS, "--score-every", "4"])
    np.testing.assert_array_equal(table_of(own_workdir)["step"], [4, 8])  # no row twice


def test_the_epoch_is_chosen_at_the_ends_of_epochs_alone(own_workdir, monkeypatch, tmp_path):
    """Scores are made up: the best of all comes between two ends."""
    scores = iter([0.1, 0.2, 0.9, 0.3])

    def evaluate(model, *rest):
        value = next(scores)
        return 0.5, {"pdj": {"0.20": value}, "pcp_strict": {"mean_4": value}}

    monkeypatch.setattr(Train_stage_1, "evaluate", evaluate)
    Train_stage_1.main(["--workdir", str(own_workdir), *FLAGS, "--score-every", "2"])
    facts = json.loads((own_workdir / "model_1.json").read_text())
    assert facts["epoch"] == 2 and facts["held_out"]["pdj"]["0.20"] == 0.3
    figures = []
    monkeypatch.setattr(training_plots, "save", lambda figure, path: figures.append(figure))
    training_plots.stage_1_training(tmp_path / "curves.png", table_of(own_workdir))
    for axes in figures[0].axes:
        (chosen,) = [line for line in axes.lines if str(line.get_label()).endswith("chosen")]
        assert chosen.get_label() == "epoch 2: chosen" and set(chosen.get_xdata()) == {2}
    labels = [line.get_label() for line in figures[0].axes[1].lines]
    assert "PDJ@0.2, held-out rows" in labels and "PDJ@0.2, rows trained on" in labels


def test_rows_of_an_older_run_lack_what_is_newer(tmp_path):
    """A run begun before there were these columns goes on; what its rows lack is nan."""
    csv_files.save(
        tmp_path / "curves_stage_1.csv",
        [
            {"epoch": 1, "train_loss": 2, "held_out_loss": 3, "pdj_0.2": 0.1},
            {
                "epoch": 2,
                "step": 9,
                "train_loss": 1,
                "held_out_loss": 2,
                "pdj_0.2": 0.2,
                "auc": 0.3,
            },
        ],
    )
    table = table_of(tmp_path)
    np.testing.assert_array_equal(table["auc"], [np.nan, 0.3])
    training_plots.stage_1_training(tmp_path / "curves.png", table)
    assert (tmp_path / "curves.png").stat().st_size > 10_000
