"""Step 5: train refiners, which correct stage 1's estimates from crops around them.

Reads   train_images.npy  train_labels.npy  train_rows.npy  dataset.json
        train_output.npy  deltas.npy
Writes  model_<joint>.pt, one a joint, each with its model_<joint>.json and curves_<joint>.csv
        with --refiner shared one model_shared.pt for all joints instead
        deltas.npy where there is none for these joints, or with --make-deltas
        with --stage 3 train_output_2.npy  deltas_3.npy  model_3_<joint>.pt
Run     python Train_stage_2.py

A third stage, --stage 3, then corrects stage 2's estimates in the same way: from what stage 2 makes
of the training rows, train_output_2.npy, and its held-out errors, of which deltas_3.npy is drawn.
"""

import math
import sys
import time

import numpy as np
import torch

from Cascade_1_net import RECIPES
from deeppose import (
    arrays,
    cascade,
    checkpoint,
    csv_files,
    deltas,
    former_stage,
    losses,
    recipe_arguments,
    recipes,
    refiner_arguments,
    refiner_start,
    run_flags,
    runtime,
    shell,
    training_state,
    workdir,
)
from deeppose.dataset import open_dataset
from deeppose.deltas import DRAWN
from deeppose.examples import Examples, boxing_of
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.shell import InputError

EPOCHS = 7  # original
HALF_BOX = 0.5  # box sides: what lies farther from a crop's centre is outside it


def gradient(network, images, asked_joints, targets, recipe, run):
    """Add the gradient of a batch of crops to the network's, and return the loss.

    images        (n, 3, size, size) in [0, 1]
    asked_joints  (n,): the number of the joint that each crop is for
    targets       (n, J, 2): all joints, in box sides from the crop's centre; NaN without a label
    """
    with run.autocast():
        predicted = network(images, asked_joints)
    # the offset of the joint asked for
    crop_numbers = torch.arange(len(asked_joints), device=targets.device)
    wanted_offsets = targets[crop_numbers, asked_joints]  # (n, 2)
    loss = losses.masked_loss(predicted.joints, wanted_offsets, recipe.loss)
    # the heatmaps of all joints that the crop shows
    if recipe.heatmaps:
        is_inside = (targets.abs() <= HALF_BOX).all(2, keepdim=True)
        inside = torch.where(is_inside, targets, torch.nan)
        cells = network.cells((images.shape[3], images.shape[2]), targets.device)
        label_count = losses.count_of(inside, "mse")
        loss = loss + recipe.heatmaps * losses.heatmap_loss(
            predicted.heatmaps, inside, cells, label_count, recipe.heatmap_loss
        )
    loss.backward()
    return loss


def train_epoch(network, optimiser, examples, rows, refiner_name, options, state, run):
    """One pass over the rows in a new order, or what is left of it, all its crops an image.

    Returns the mean loss.
    """
    network.train()
    epoch = state.epoch
    batch_size = options.batch_size
    recipe = examples.recipe
    # an interrupted epoch goes on at its step, in the same order
    steps_an_epoch = math.ceil(len(rows) / batch_size)
    order = runtime.rng(options.seed, refiner_name, "order", epoch).permutation(rows)
    starts = range(state.step * batch_size, len(order), batch_size)
    batches = [order[start : start + batch_size] for start in starts]
    for batch, frames in runtime.progress(
        zip(batches, examples.frames.batches(batches)),
        f"{refiner_name} {epoch}",
        total=len(batches),
        unit=" steps",
        leave=False,
    ):
        # draw this step's crops: a function of seed, epoch and step, as dropout is
        step = state.step
        rng = runtime.rng(options.seed, refiner_name, "draw", epoch, step)
        boxes, targets, asked_joints, views = examples.draw(batch, rng)
        images, targets = examples.crops_and_targets(
            frames, boxes, targets, views, network.crop_px, run
        )
        asked_joints = torch.from_numpy(asked_joints).to(run.device).flatten()
        runtime.seed_torch(options.seed, refiner_name, "step", epoch, step)
        # set the rate
        steps_done = steps_an_epoch * (epoch - 1) + step
        optimiser.param_groups[0]["lr"] = recipe.rate(steps_done, steps_an_epoch * options.epochs)
        # step
        optimiser.zero_grad()
        loss = gradient(network, images, asked_joints, targets, recipe, run).item()
        state.check_finite(loss, batch)
        optimiser.step()
        if state.average is not None:
            state.average.update_parameters(network)
        # count it, and save the state where it is time to
        state.step = step + 1
        state.total += loss * len(batch)
        state.tick()
    return state.total / len(order)


def train_refiner(examples, refiner_name, initial_weights, dataset, settings, options, run):
    """Train one refiner, or what is left of it, and write its checkpoint with the least held-out
    loss.

    initial_weights  the file that it starts from, or None

    Of epochs without a gain the last: another joint's network may start from it.
    """
    path = workdir.refiner_path(options.workdir, refiner_name, options.stage)
    rows = runtime.choose_rows(examples.rows, options.rows, options.seed)
    if not len(rows) or not len(examples.held_out):
        raise InputError(
            f"{options.workdir / 'train_labels.npy'}: no row has a label for {refiner_name}; "
            f"{arrays.STEP_1} makes it"
        )
    settings = settings | {"rows": len(rows)}
    if training_state.finished(path, settings, options.resume):
        return
    # build it, from random weights or another refiner's
    runtime.seed_torch(options.seed, refiner_name, "initial weights")
    network = refiner_start.build(
        examples.joints.tolist(), initial_weights, dataset.skeleton, options
    )
    network = run.place(network)
    # go on where an unfinished run stands
    recipe = options.recipe
    optimiser = recipe.optimiser_of(network, run.device)
    state = training_state.TrainingState(
        path, settings, run, network, optimiser, options, recipe.average_of(network)
    )
    state.provenance = refiner_start.provenance(
        examples, initial_weights, dataset.skeleton, options
    )
    # train
    with state.catching_signals():
        train(network, optimiser, examples, rows, refiner_name, options, state, run)
        state.finish()
    gains = " ".join(f"{gain:.2f}" for gain in state.best["gain"])
    label = "gain" if len(state.best["gain"]) == 1 else "gains"
    print(f"{path}: epoch {state.best['epoch']}, {label} {gains}", flush=True)


def train(network, optimiser, examples, rows, refiner_name, options, state, run):
    """All epochs that are left; state.best and best_weights are then those of the epoch with the
    least loss."""
    while state.epoch <= options.epochs:
        # train for an epoch
        began = time.perf_counter()
        rows_left = max(len(rows) - state.step * options.batch_size, 0)
        train_loss = train_epoch(
            network, optimiser, examples, rows, refiner_name, options, state, run
        )
        crop_rate = rows_left * (options.simulated + 1) / (time.perf_counter() - began)
        # evaluate
        with state.stop_signals.at_rest():
            by_joint = cascade.held_out_scores(state.model, examples, run)
        record_epoch(state, by_joint, train_loss, crop_rate, refiner_name, options)
        state.next_epoch()


def record_epoch(state, by_joint, train_loss, crop_rate, refiner_name, options):
    """Report an epoch, and keep its weights if they are the best so far."""
    held_out = {score: float(np.nanmean(values)) for score, values in by_joint.items()}
    print(
        f"{refiner_name:<15} epoch {state.epoch}/{options.epochs}  loss {train_loss:.5f}  "
        f"held-out {held_out['loss_with_gain']:.4f} with gain {held_out['gain']:.2f} "
        f"({held_out['loss_without']:.4f} unrefined)  {crop_rate:.0f} crops/s",
        flush=True,
    )
    state.history.append({"epoch": state.epoch, "train_loss": train_loss} | held_out)
    curves_path = workdir.curves_path(options.workdir, refiner_name, options.stage)
    csv_files.save(curves_path, state.history)
    # keep the weights with their gains: all of them with --keep-epochs, and the best
    epoch_scores = {
        "epoch": state.epoch,
        "gain": by_joint["gain"],
        "held_out": held_out,
        "by_joint": by_joint,
    }
    state.model.gain.copy_(torch.tensor(by_joint["gain"]))
    state.keep_epoch(epoch_scores)
    if not state.best or held_out["loss_with_gain"] <= state.best["held_out"]["loss_with_gain"]:
        state.best_weights = checkpoint.weights_of(state.model)
        state.best = epoch_scores


def parse(argv):
    """The command line: see --help."""
    parser = run_flags.parser(__doc__)
    run_flags.add_training_arguments(parser, EPOCHS)
    run_flags.add_model_argument(parser)
    recipe_arguments.add_arguments(parser, RECIPES)
    refiner_arguments.add_arguments(parser, RECIPES["best"])
    options = parser.parse_args(argv)
    refiner_arguments.choose(parser, options, RECIPES)
    return options


@shell.command
def main(argv=None):
    options = parse(argv)
    shell.until_end(runtime.log(options))
    if options.weights == "former" and options.stage == 2:
        raise InputError("--weights former: stage 1 has no network of a joint; it is for --stage 3")
    dataset = open_dataset(options.workdir)
    # which refiners, and from which weights
    names = refiner_start.refiner_names(options, dataset)
    initial_weights = {
        refiner_name: refiner_start.find_initial_weights(refiner_name, dataset.skeleton, options)
        for refiner_name in names
    }
    # the former stage's predictions, and by how much they err
    predicted_px = workdir.load_output(
        options.workdir, dataset, model_path=workdir.model_path(options)
    )
    run = runtime.choose(options, parallel=True)
    print(run)
    options.recipe = recipes.for_data(options.recipe, dataset)
    if dataset.not_refined and not options.joints:
        print(
            f"{', '.join(dataset.not_refined)}: too few labels to learn from or to be judged by; no refiner"
        )
    frames = Frames(dataset.train_images, run.device)
    if options.stage > 2:
        predicted_px = former_stage.predict(dataset, frames, predicted_px, run)
    deltas_path, simulated_errors = deltas.find(options, dataset, predicted_px, run)
    boxing = boxing_of(options.recipe, dataset.skeleton)
    print(
        f"stage {options.stage}: {', '.join(names) if len(names) < 3 else f'{len(names)} joints'}, "
        f"{options.simulated} of the {DRAWN} errors in {deltas_path} an image, boxes {boxing.scale:g} times the "
        f"pose's size wide, {options.called}"
    )
    # train them, one after the other; of several processes each has its share
    settings = refiner_start.settings(dataset, options, run, boxing, deltas_path)
    for refiner_name in names[run.rank :: run.world]:
        joints = refiner_start.served_joints(refiner_name, dataset)
        examples = Examples(
            dataset,
            frames,
            predicted_px,
            joints,
            simulated_errors,
            options.recipe,
            options.simulated,
        )
        with lock(options.workdir, workdir.refiner_name(refiner_name, options.stage)):
            train_refiner(
                examples,
                refiner_name,
                initial_weights[refiner_name],
                dataset,
                settings,
                options,
                run.alone(),
            )
    run.wait()
    print("next: test_stage_2.py")


if __name__ == "__main__":
    sys.exit(main())
