"""--recipe and --vary: the original's recipe is what its author's scripts do."""

import json
import math

import pytest
import torch
from helpers import SMALL, fails, weights
from torch import nn

import test_stage_1
import Train_stage_1
from deeppose import augment
from deeppose.recipes import Recipe

CPU = torch.device("cpu")


def test_the_originals_recipe_is_its_authors():
    """MSE on labels (px - 113.5) / 227, Adam 5e-4, batch 64, 200 epochs, no schedule, nothing drawn
    on the fly."""
    options = Train_stage_1.parse(["--recipe", "original"])
    recipe = options.recipe
    assert (options.batch_size, options.epochs) == (64, 200)
    assert (recipe.options, recipe.loss, recipe.average, recipe.heatmaps) == (
        {"head": "direct"},
        "mse",
        0,
        0,
    )
    assert recipe.ranges == augment.Ranges() and not recipe.ranges.moves
    optimiser = recipe.optimiser_of(nn.Linear(2, 2), CPU)
    assert type(optimiser) is torch.optim.Adam
    assert (optimiser.defaults["lr"], optimiser.defaults["weight_decay"]) == (5e-4, 0)
    assert [recipe.rate(step, 100) for step in (0, 1, 50, 99)] == [5e-4] * 4
    assert recipe.average_of(nn.Linear(2, 2)) is None


def test_vary_changes_one_entry_of_a_recipe_and_the_rest_stays(capsys):
    best = Train_stage_1.parse([]).recipe
    varied = Train_stage_1.parse(["--vary", "turn_deg=20", "--vary", "loss=mse"]).recipe
    assert vars(varied) == vars(best) | {"turn_deg": 20.0, "loss": "mse"}
    direct = Train_stage_1.parse(["--vary", "head=direct", "--vary", "heatmaps=0"]).recipe
    assert vars(direct) == vars(best) | {"options": {"head": "direct"}, "heatmaps": 0.0}
    assert best.options == {"head": "integral"}
    for wrong, said in (
        ("turn=3", "turn_deg"),
        ("loss=l7", "smooth_l1"),
        ("scale=much", "number"),
        ("scale=-1", "0 or"),
        ("head=direct", "heatmaps=0"),
    ):
        with pytest.raises(SystemExit) as stop:
            Train_stage_1.parse(["--vary", wrong])
        line = capsys.readouterr().err
        assert stop.value.code == 2 and said in line and line.count("\n") == 1


def test_the_rate_rises_then_falls_to_zero():
    recipe = Recipe(learning_rate=1.0, warm_up=10, schedule="cosine")
    rates = [recipe.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, rel=0.01) and rates.index(max(rates)) in (9, 10, 11)
    short = Recipe(learning_rate=1.0, warm_up=200)  # at most a fifth of the steps
    assert short.rate(9, 100) == 0.5 and short.rate(19, 100) == short.rate(99, 100) == 1
    assert rates[50] == pytest.approx((1 + math.cos(math.pi / 2)) / 2) and 0 < rates[-1] < 1e-3


def test_the_average_follows_weights_and_batch_statistics():
    network, recipe = nn.BatchNorm1d(1), Recipe(average=0.9)
    average = recipe.average_of(network)
    for value in range(200):
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_mean.fill_(-value)
        average.update_parameters(network)
    expected = 199 - 0.9 / (1 - 0.9)  # of a ramp: it lags by decay / (1 - decay) steps
    assert average.module.weight.item() == pytest.approx(expected, abs=0.01)
    assert average.module.running_mean.item() == pytest.approx(-expected, abs=0.01)


def test_images_are_not_enlarged(own_workdir, capsys):
    fails(
        Train_stage_1.main,
        ["--workdir", own_workdir, "--input-px", "300"],
        capsys,
        "--input-px 300",
        "227",
    )


@pytest.mark.parametrize("flags", [("--recipe", "original"), ("--input-px", "65")])
def test_what_was_trained_is_said_and_scored(flags, own_workdir):
    """The checkpoint of either head, of images of either size, is what the later steps load."""
    own = ["--workdir", str(own_workdir), *SMALL]
    Train_stage_1.main([*own, "--weights", "none", "--rows", "4", "--epochs", "1", *flags])
    facts = json.loads((own_workdir / "model_1.json").read_text())
    assert facts["settings"]["recipe"] == vars(Train_stage_1.parse(flags).recipe)
    assert ("hidden.0.weight" in weights(own_workdir, "model_1")) == ("original" in flags)
    test_stage_1.main(["--workdir", str(own_workdir), "--device", "cpu"])
    assert (own_workdir / "metrics_stage_1.json").exists()
