"""Step 2: train the network that regresses all joints from a whole frame.

Reads   train_images.npy  train_labels.npy  train_rows.npy  dataset.json
Writes  model_1.pt (the epoch with the best held-out score)  model_1.json  curves_stage_1.csv
Run     python Train_stage_1.py
"""

import math
import os
import sys
import time
from dataclasses import replace

import numpy as np
import torch

from deeppose import (
    arrays,
    augment,
    checkpoint,
    crops,
    csv_files,
    curves,
    files,
    leakage,
    losses,
    metrics,
    networks,
    pretrained,
    recipes,
    run_flags,
    runtime,
    shell,
    training_state,
)
from deeppose.dataset import open_dataset
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.networks import NETWORKS, Stage_1
from deeppose.shell import InputError

BATCH_SIZE = 64  # original
EPOCHS = 200  # original
SMALLEST_INPUT_PX = 64  # 2 x 2 cells of the coarsest features


def gradient(network, images, targets, part, recipe, run, cells=None):
    """Add a batch's gradient to the network's, and return the loss.

    The process works on its part of the batch.

    images   (n, 3, h, w) in [0, 1], of this process's part
    targets  (N, J, 2) of the whole batch, normalised, NaN without a label
    part     slice of the batch that is this process's
    cells    function of (w, h) and a device: where the heatmaps' cells are
    """
    with run.autocast():
        predicted = network(images.to(run.dtype))
    true = targets[part]
    count = losses.count_of(targets, recipe.loss)  # of the whole batch, not of the part
    loss = losses.masked_loss(predicted.joints, true, recipe.loss, count)
    if recipe.heatmaps:
        where = cells((images.shape[3], images.shape[2]), true.device)
        labelled = losses.count_of(targets, "mse")
        own = losses.heatmap_loss(predicted.heatmaps, true, where, labelled, recipe.heatmap_loss)
        loss = loss + recipe.heatmaps * own
    # gradients are averaged over the processes, and this makes their mean the whole batch's
    loss = run.world * loss
    loss.backward()
    return loss


def dealt(batch, world):
    """The n rows of a batch as they are dealt to processes, (max(n, world),): too few are repeated,
    one for each."""
    return np.resize(batch, max(len(batch), world))


class Examples:
    """What the network learns from: the frames and their joints, as the recipe has them seen."""

    def __init__(self, data, recipe, input_size, run):
        targets = data.normalised(data.train_labels).astype(np.float32)
        # (N, J, 2), in view boxes from the centre
        self.targets = torch.from_numpy(targets).to(run.device)
        self.frames = Frames(data.train_images, run.device)
        self.flip = data.skeleton.flip
        self.view_box = data.view_box
        self.recipe = recipe
        self.input_size = input_size

    def draw(self, frames, rows, part, world, rng):
        """Images (n, 3, h, w) of the part's frames, and the targets (N, J, 2) of all rows as they
        are dealt.

        Repeats have no label, so that each row counts once: loss and gradient are those of one
        process. A process on a CPU that has a repeat has nothing else, so the batch statistics of
        what counts do not see it either; the synchronised ones of GPUs do.
        """
        ranges = self.recipe.ranges
        views = augment.draw(len(rows), ranges, rng, self.view_box[2] / self.view_box[3])
        places = dealt(np.arange(len(rows)), world)  # (N,)
        boxes = np.broadcast_to(self.view_box, (len(frames), 1, 4))
        images = augment.apply(
            crops.to_float(frames), boxes, views[places[part]], ranges, self.input_size
        )
        targets = self.targets[torch.from_numpy(rows)]
        if ranges.moves:
            targets = augment.move(targets, views, self.flip)
        repeats = targets.new_full((len(places) - len(rows), *targets.shape[1:]), torch.nan)
        return images, torch.cat([targets, repeats])


def freeze(network, share_done, recipe, loaded):
    """Before the optimiser's step: a backbone with loaded weights stays as it is for the recipe's
    share of the run.

    It loses its gradients, not the wish for them: what is shared by several processes waits for
    those.
    """
    if loaded and share_done < recipe.frozen:
        for weight in network.backbone.parameters():
            weight.grad = None


def train_epoch(network, optimiser, examples, rows, options, state, run, stop=None):
    """One pass over the rows in a new order, or what is left of it up to a step.

    Returns the epoch's mean loss so far.

    stop  the epoch's step before which to stop (default: its end)
    """
    network.train()
    epoch = state.epoch
    recipe = examples.recipe
    part = slice(run.rank, None, run.world)
    order = runtime.rng(options.seed, "order", epoch).permutation(rows)
    steps_an_epoch = math.ceil(len(order) / options.batch_size)
    stop = steps_an_epoch if stop is None else stop
    batches = [
        order[step * options.batch_size : (step + 1) * options.batch_size]
        for step in range(state.step, stop)
    ]
    read = examples.frames.batches([dealt(batch, run.world)[part] for batch in batches])
    for batch, frames in runtime.progress(
        zip(batches, read), f"epoch {epoch}", total=len(batches), unit=" steps", leave=False
    ):
        # draw this step's views, a function of seed, epoch and step; dropout's also of the process
        step = state.step
        images, targets = examples.draw(
            frames, batch, part, run.world, runtime.rng(options.seed, "view", epoch, step)
        )
        runtime.seed_torch(options.seed, "step", epoch, step, run.rank)
        # set the rate
        steps_done = steps_an_epoch * (epoch - 1) + step
        steps = steps_an_epoch * options.epochs
        optimiser.param_groups[0]["lr"] = recipe.rate(steps_done, steps)
        # step
        optimiser.zero_grad()
        loss = gradient(
            network, images, targets, part, recipe, run, getattr(state.network, "cells", None)
        )
        loss = state.stop_signals.exchange(loss.item())
        state.check_finite(loss, batch)
        freeze(
            state.network, steps_done / steps, recipe, state.about["initial_weights"] != "random"
        )
        optimiser.step()
        if state.average is not None:
            state.average.update_parameters(state.network)
        state.step = step + 1
        state.total += loss * len(batch)
        state.tick()
    return state.total / min(stop * options.batch_size, len(order))


def evaluate(model, examples, data, run):
    """Loss of the coordinates, and scores, on the held-out rows."""
    joints, loss = curves.predict_rows(model, examples, data, data.held_out, run)
    try:
        return loss, curves.score_rows(joints, data, data.held_out)
    except ValueError as error:
        raise InputError(
            f"{data.folder / 'train_labels.npy'}: of the held-out rows {error}; run {arrays.STEP_1} "
            "with more images"
        ) from None


def report(epoch, options, train_loss, loss, shown, image_rate, seconds_left):
    """One line an epoch; shown: what metrics.headline gives."""
    minutes = round(seconds_left / 60)
    scores = "  ".join(f"{name} {score:.3f}" for name, score in shown.values())
    print(
        f"epoch {epoch:>3}/{options.epochs}  loss {train_loss:.5f}  held-out loss {loss:.5f}  {scores}  "
        f"{image_rate:.1f} images/s  left {minutes // 60} h {minutes % 60:02} min",
        flush=True,
    )


def train(model, optimiser, examples, data, rows, options, state, run):
    """All epochs that are left; state.best and best_weights are then those of the best epoch."""
    shared = run.share(model.network)
    trained = replace(model, network=state.model)  # with the moving average, if there is one
    steps = math.ceil(len(rows) / options.batch_size)  # an epoch
    while state.epoch <= options.epochs:
        # train until scores are due
        stop = curves.next_scored(state, steps, options.score_every) if run.rank == 0 else steps
        began = time.perf_counter()
        skipped = state.step * options.batch_size
        train_loss = train_epoch(shared, optimiser, examples, rows, options, state, run, stop)
        seen = min(stop * options.batch_size, len(rows)) - skipped
        image_rate = max(seen, 0) / (time.perf_counter() - began)
        # evaluate
        if run.rank == 0:
            with state.stop_signals.at_rest():
                loss, scores = evaluate(trained, examples, data, run.alone())
                trained_on = curves.of_trained_on(
                    trained, examples, data, rows, options.seed, run.alone()
                )
            columns = {"train_loss": train_loss, "held_out_loss": loss} | metrics.columns(
                scores, data.skeleton
            )
            record_scores(state, steps, columns | trained_on, options)
            if stop == steps:
                record_epoch(state, data.skeleton, loss, scores, train_loss, image_rate, options)
        if stop == steps:
            state.next_epoch()


def record_scores(state, steps, columns, options):
    """Add a row to curves_stage_1.csv.

    Its epoch, of so many steps, is a whole number at the end of one alone.
    """
    epoch = state.epoch if state.step == steps else state.epoch - 1 + state.step / steps
    state.history.append({"epoch": epoch, "step": steps * (state.epoch - 1) + state.step} | columns)
    csv_files.save(options.workdir / "curves_stage_1.csv", state.history)


def record_epoch(state, skeleton, loss, scores, train_loss, image_rate, options):
    """Report an epoch, and keep its weights if they are the best so far."""
    epoch = state.epoch
    shown = metrics.headline(scores, skeleton)
    seconds_left = state.seconds / epoch * (options.epochs - epoch)
    report(epoch, options, train_loss, loss, shown, image_rate, seconds_left)
    score = metrics.chosen(scores, skeleton)
    found = {"epoch": epoch, "held_out_loss": loss, "held_out": scores}
    state.keep_epoch(found)
    if not state.best or score > metrics.chosen(state.best["held_out"], skeleton):
        state.best_weights = checkpoint.weights_of(state.model)
        state.best = found


def parse(argv):
    """The command line: see --help."""
    parser = run_flags.parser(__doc__)
    run_flags.add_training_arguments(parser, EPOCHS)
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        help="which network is trained (default: that of the whole model in --weights, else "
        f"{networks.DEFAULT})",
    )
    parser.add_argument(
        "--batch-size",
        type=shell.at_least(1),
        metavar="N",
        help=f"images a step (default: the recipe's, or {BATCH_SIZE})",
    )
    pretrained.add_argument(parser)
    recipes.add_arguments(
        parser, [f"{', '.join(known)} ({name})" for name, (_, known) in NETWORKS.items()]
    )
    parser.add_argument(
        "--input-px",
        type=shell.at_least(SMALLEST_INPUT_PX),
        default=0,
        metavar="N",
        help="reduce images until their longer side is N pixels, for small machines: 129 trains three "
        "times as fast as 227 (default: as they are)",
    )
    parser.add_argument(
        "--score-every",
        type=shell.at_least(1),
        metavar="N",
        help="every N steps add the scores of the held-out rows, and of some that are trained on, to "
        "curves_stage_1.csv as well (default: after each epoch alone)",
    )
    options = parser.parse_args(argv)
    backbone = {}
    if options.network is None:
        options.network, backbone = network_of(options.weights)
    network_class, known = NETWORKS[options.network]
    recipes.choose(parser, options, recipes.with_options(known, backbone))
    options.batch_size = options.batch_size or options.recipe.batch_size or BATCH_SIZE
    try:
        getattr(network_class, "check_recipe", lambda _: None)(options.recipe)
    except ValueError as error:
        parser.error(f"argument --vary: {error}")
    return options


def network_of(weights):
    """Name of the network that goes on from --weights, and the option that says its backbone.

    Raises InputError where a whole model's .json names no network.
    """
    model = pretrained.find_model(weights)
    if model is None:
        return networks.DEFAULT, {}
    path = model.with_suffix(".json")
    facts = files.load_json(path, networks.STEP_2)
    name = facts.get("network", networks.DEFAULT)
    options = facts.get("options", {})
    if name not in list(NETWORKS) or not isinstance(options, dict):
        raise InputError(f"{path}: does not tell the model's network; {networks.STEP_2}")
    return name, {key: value for key, value in options.items() if key == "backbone"}


def build(data, options, run):
    """The Stage_1 to be trained, with random weights."""
    view_size = data.view_box[2:]
    if options.input_px > max(view_size):
        raise InputError(
            f"--input-px {options.input_px}: the images have only {max(view_size):g} pixels a side"
        )
    runtime.seed_torch(options.seed, "initial weights")
    network = networks.build(options.network, data.skeleton.joint_count, options.recipe.options)
    size = networks.input_size(view_size, options.input_px, options.recipe.stretch)
    return Stage_1(
        run.place(network),
        options.network,
        data.skeleton,
        data.frame,
        data.margin,
        size,
        data.depth_white,
    )


@shell.command
def main(argv=None):
    options = parse(argv)
    shell.until_end(runtime.log(options))
    data = open_dataset(options.workdir)
    run = runtime.choose(options, parallel=True)
    print(run)
    options.recipe = recipe = recipes.for_data(options.recipe, data)
    rows = runtime.choose_rows(data.trained_on, options.rows, options.seed)
    trained_on = leakage.describe(data.identities("train")[rows])
    path = options.workdir / "model_1.pt"
    # of several processes that train together only the first writes, so it alone locks
    if os.environ.get("RANK", "0") == "0":
        shell.until_end(lock(options.workdir, "model_1"))
    model = build(data, options, run)
    settings = {
        "network": options.network,
        "rows": len(rows),
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "weights": options.weights,
        "precision": run.precision,
        "input_px": options.input_px,
        "recipe": vars(recipe),
        "dataset": data.digests,
    }
    if training_state.finished(path, settings, options.resume):
        return
    optimiser = recipe.optimiser_of(model.network, run.device)
    state = training_state.TrainingState(
        path, settings, run, model.network, optimiser, options, recipe.average_of(model.network)
    )
    if not state.about:
        initial = pretrained.load_initial(model.network, options.weights, data.skeleton)
        state.about = {"initial_weights": initial}
        if (former := pretrained.find_model(options.weights)) is not None:
            state.about["ancestors"] = leakage.ancestors(former)
    state.provenance = model.described() | {
        "options": recipe.options,
        "seed": options.seed,
        "trained_on": trained_on,
        "sets": data.facts.get("sets", {}),
    }
    with state.catching_signals():
        print(
            f"{options.network} from {state.about['initial_weights']} weights, {len(rows)} training rows, "
            f"{len(data.held_out)} held out, batch {options.batch_size}, {options.called}",
            flush=True,
        )
        examples = Examples(data, recipe, model.input_size, run)
        train(model, optimiser, examples, data, rows, options, state, run)
        if run.rank > 0:
            return
        state.finish()
    score = metrics.chosen(state.best["held_out"], data.skeleton)
    print(
        f"{path}: epoch {state.best['epoch']}, held-out {metrics.chosen_name(data.skeleton)} {score:.3f}; "
        "next: test_stage_1.py"
    )


if __name__ == "__main__":
    sys.exit(main())
