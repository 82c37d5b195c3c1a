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

from deeppose import (
    arrays,
    checkpoint,
    csv_files,
    curves,
    losses,
    metrics,
    recipes,
    run_flags,
    runtime,
    shell,
    stage_1_arguments,
    stage_1_start,
    training_state,
)
from deeppose.dataset import open_dataset
from deeppose.frame_examples import FrameExamples, deal
from deeppose.locks import lock
from deeppose.shell import InputError

EPOCHS = 200  # original


def gradient(network, images, targets, part, recipe, run, cells=None):
    """Add a batch's gradient to the network's, and return the loss.

    The process works on its part of the batch.

    images   (n, 3, h, w) in [0, 1], of this process's part
    targets  (N, J, 2) of the whole batch, normalised, NaN without a label
    part     slice of the batch that is this process's
    cells    function of (w, h) px and a device: where the heatmaps' cells are
    """
    with run.autocast():
        predicted = network(images.to(run.dtype))
    # the joints' loss, divided by the labels of the whole batch, not of the part
    part_targets = targets[part]  # (n, J, 2)
    divisor = losses.count_of(targets, recipe.loss)
    loss = losses.masked_loss(predicted.joints, part_targets, recipe.loss, divisor)
    # the heatmaps' loss beside it
    if recipe.heatmaps:
        image_size = (images.shape[3], images.shape[2])
        heatmap_loss = losses.heatmap_loss(
            predicted.heatmaps,
            part_targets,
            cells(image_size, part_targets.device),
            losses.count_of(targets, "mse"),
            recipe.heatmap_loss,
        )
        loss = loss + recipe.heatmaps * heatmap_loss
    # gradients are averaged over the processes, and this makes their mean the whole batch's
    loss = run.world * loss
    loss.backward()
    return loss


def freeze(network, share_done, recipe, has_loaded_weights):
    """Before the optimiser's step: keep a loaded backbone as it is for the recipe's share of the run.

    It loses its gradients, not the wish for them: several processes wait for each weight's
    gradient before they go on.
    """
    if has_loaded_weights and share_done < recipe.frozen:
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
    has_loaded_weights = state.about["initial_weights"] != "random"
    # deal this epoch's rows to steps, and each step's to the processes
    order = runtime.rng(options.seed, "order", epoch).permutation(rows)
    steps_an_epoch = math.ceil(len(order) / options.batch_size)
    step_count = steps_an_epoch * options.epochs  # of the whole run
    stop = steps_an_epoch if stop is None else stop
    batches = [
        order[step * options.batch_size : (step + 1) * options.batch_size]
        for step in range(state.step, stop)
    ]
    part = slice(run.rank, None, run.world)
    frames_read = examples.frames.batches([deal(batch, run.world)[part] for batch in batches])
    for batch, frames in runtime.progress(
        zip(batches, frames_read), f"epoch {epoch}", total=len(batches), unit=" steps", leave=False
    ):
        # draw this step's views, a function of seed, epoch and step; dropout's also of the process
        step = state.step
        view_rng = runtime.rng(options.seed, "view", epoch, step)
        images, targets = examples.draw(frames, batch, part, run.world, view_rng)
        runtime.seed_torch(options.seed, "step", epoch, step, run.rank)
        # set the rate
        steps_done = steps_an_epoch * (epoch - 1) + step
        optimiser.param_groups[0]["lr"] = recipe.rate(steps_done, step_count)
        # step
        optimiser.zero_grad()
        cells = getattr(state.network, "cells", None)
        loss = gradient(network, images, targets, part, recipe, run, cells)
        loss = state.stop_signals.exchange(loss.item())
        state.check_finite(loss, batch)
        freeze(state.network, steps_done / step_count, recipe, has_loaded_weights)
        optimiser.step()
        if state.average is not None:
            state.average.update_parameters(state.network)
        # count it; tick may save, or end the run on a signal
        state.step = step + 1
        state.total += loss * len(batch)
        state.tick()
    return state.total / min(stop * options.batch_size, len(order))


def evaluate(model, examples, dataset, run):
    """Loss of the coordinates, and scores, on the held-out rows."""
    joints_px, loss = curves.predict_rows(model, examples, dataset, dataset.held_out, run)
    try:
        return loss, curves.score_rows(joints_px, dataset, dataset.held_out)
    except ValueError as error:
        raise InputError(
            f"{dataset.folder / 'train_labels.npy'}: of the held-out rows {error}; "
            f"run {arrays.STEP_1} with more images"
        ) from None


def train(model, optimiser, examples, dataset, rows, options, state, run):
    """All epochs that are left; state.best and best_weights are then those of the best epoch."""
    shared_network = run.share(model.network)
    evaluated_model = replace(model, network=state.model)  # the moving average, if there is one
    steps_an_epoch = math.ceil(len(rows) / options.batch_size)
    while state.epoch <= options.epochs:
        # train until scores are due
        stop = steps_an_epoch
        if run.rank == 0:
            stop = curves.next_scored(state, steps_an_epoch, options.score_every)
        began = time.perf_counter()
        images_before = state.step * options.batch_size
        train_loss = train_epoch(
            shared_network, optimiser, examples, rows, options, state, run, stop
        )
        images_seen = min(stop * options.batch_size, len(rows)) - images_before
        image_rate = max(images_seen, 0) / (time.perf_counter() - began)
        # evaluate
        if run.rank == 0:
            with state.stop_signals.at_rest():
                loss, scores = evaluate(evaluated_model, examples, dataset, run.alone())
                trained_on = curves.of_trained_on(
                    evaluated_model, examples, dataset, rows, options.seed, run.alone()
                )
            columns = {"train_loss": train_loss, "held_out_loss": loss}
            columns |= metrics.columns(scores, dataset.skeleton)
            record_scores(state, steps_an_epoch, columns | trained_on, options)
            if stop == steps_an_epoch:
                record_epoch(state, dataset.skeleton, loss, scores, train_loss, image_rate, options)
        if stop == steps_an_epoch:
            state.next_epoch()


def record_scores(state, steps_an_epoch, columns, options):
    """Add a row to curves_stage_1.csv; its epoch is a whole number at an epoch's end alone."""
    epoch = state.epoch
    if state.step < steps_an_epoch:
        epoch = state.epoch - 1 + state.step / steps_an_epoch
    run_step = steps_an_epoch * (state.epoch - 1) + state.step
    state.history.append({"epoch": epoch, "step": run_step} | columns)
    csv_files.save(options.workdir / "curves_stage_1.csv", state.history)


def record_epoch(state, skeleton, loss, scores, train_loss, image_rate, options):
    """Print an epoch's line, and keep its weights if they are the best so far."""
    epoch = state.epoch
    seconds_left = state.seconds / epoch * (options.epochs - epoch)
    shown_scores = metrics.headline(scores, skeleton)
    print_epoch(epoch, options, train_loss, loss, shown_scores, image_rate, seconds_left)
    score = metrics.chosen(scores, skeleton)
    epoch_entry = {"epoch": epoch, "held_out_loss": loss, "held_out": scores}
    state.keep_epoch(epoch_entry)
    if not state.best or score > metrics.chosen(state.best["held_out"], skeleton):
        state.best_weights = checkpoint.weights_of(state.model)
        state.best = epoch_entry


def print_epoch(epoch, options, train_loss, loss, shown_scores, image_rate, seconds_left):
    """One line an epoch.

    shown_scores  as metrics.headline gives them
    """
    minutes_left = round(seconds_left / 60)
    scores = "  ".join(f"{score_name} {score:.3f}" for score_name, score in shown_scores.values())
    print(
        f"epoch {epoch:>3}/{options.epochs}  loss {train_loss:.5f}  held-out loss {loss:.5f}  {scores}  "
        f"{image_rate:.1f} images/s  left {minutes_left // 60} h {minutes_left % 60:02} min",
        flush=True,
    )


def parse(argv):
    """The command line: see --help."""
    parser = run_flags.parser(__doc__)
    run_flags.add_training_arguments(parser, EPOCHS)
    stage_1_arguments.add_arguments(parser)
    options = parser.parse_args(argv)
    stage_1_arguments.choose(parser, options)
    return options


@shell.command
def main(argv=None):
    options = parse(argv)
    shell.until_end(runtime.log(options))
    dataset = open_dataset(options.workdir)
    run = runtime.choose(options, parallel=True)
    print(run)
    options.recipe = recipe = recipes.for_data(options.recipe, dataset)
    rows = runtime.choose_rows(dataset.trained_on, options.rows, options.seed)
    path = options.workdir / "model_1.pt"
    # of several processes that train together only the first writes, so it alone locks
    if os.environ.get("RANK", "0") == "0":
        shell.until_end(lock(options.workdir, "model_1"))
    settings = stage_1_start.settings(dataset, rows, options, run)
    if training_state.finished(path, settings, options.resume):
        return
    # build the network
    model = stage_1_start.build(dataset, options, run)
    optimiser = recipe.optimiser_of(model.network, run.device)
    about = {}
    if not (options.resume and training_state.state_path(path).exists()):
        # before the state, which removes a former run: weights may turn out to be none
        about = stage_1_start.load_initial_weights(model, options)
    state = training_state.TrainingState(
        path, settings, run, model.network, optimiser, options, recipe.average_of(model.network)
    )
    state.about = state.about or about
    state.provenance = stage_1_start.provenance(model, dataset, rows, options)
    # train
    with state.catching_signals():
        print(
            f"{options.network} from {state.about['initial_weights']} weights, {len(rows)} training rows, "
            f"{len(dataset.held_out)} held out, batch {options.batch_size}, {options.called}",
            flush=True,
        )
        examples = FrameExamples(dataset, recipe, model.input_size, run)
        train(model, optimiser, examples, dataset, rows, options, state, run)
        if run.rank > 0:
            return
        state.finish()
    # say how good it became
    score_name = metrics.chosen_name(dataset.skeleton)
    score = metrics.chosen(state.best["held_out"], dataset.skeleton)
    print(
        f"{path}: epoch {state.best['epoch']}, held-out {score_name} {score:.3f}; "
        "next: test_stage_1.py"
    )


if __name__ == "__main__":
    sys.exit(main())
