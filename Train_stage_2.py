"""Step 5: for each joint in turn, train an AlexNet that corrects stage 1's estimate from a crop around it.

Reads   train_images.npy  train_labels.npy  dataset.json  train_output.npy  deltas.npy
Writes  model_<joint>.pt, 14 of them, each with its model_<joint>.json and curves_<joint>.csv
Run     python Train_stage_2.py

A third stage, --stage 3, then corrects stage 2's estimates in the same way. It writes what stage 2 makes of the
training rows, train_output_2.npy, draws deltas_3.npy, and writes model_3_<joint>.pt.
"""
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

from Cascade_1_net import (
    CROP_PX,
    LARGEST_CROP_PX,
    SMALLEST_CROP_PX,
    STAGES,
    STEP_5,
    Alex_net_c1,
    cell_centres,
    crop_sizes,
    displacements,
    refine,
    stages_here,
)
from deeppose import arrays, checkpoint, deltas, files, predictions, recipes, runtime, shell
from deeppose.deltas import DRAWN
from deeppose.estimates import Examples
from deeppose.gains import counted, fit_gain
from deeppose.geometry import SIGMA
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.losses import heatmap_loss, masked_loss
from deeppose.predictions import curves_name, model_name
from deeppose.recipes import Recipe
from deeppose.shell import InputError
from deeppose.skeleton import joints_named

EPOCHS = 7                # original
IMAGES_A_STEP = 10        # original
SIMULATED = 20            # of them used for an image and epoch, see --simulated; original: always the first 20
ORIGINAL = Recipe(optimiser="adagrad")  # MSE, Adagrad 5e-4; original, and DeepPose, section 3.2
BEST = Recipe(head="integral", loss="l1", heatmaps=0.1, optimiser="adamw", weight_decay=0.05, warm_up=200,
              schedule="cosine", mirror=0.5)  # what it gained: README, Accuracy
RECIPES = {"best": BEST, "original": ORIGINAL}


def gradient(network, images, targets, joint, recipe, run):
    """Add the gradient of a batch of crops to the network's, and return the loss.

    images   (n, 3, size, size) in [0, 1]
    targets  (n, J, 2): all joints, in box sides from the crop's centre; NaN without a label
    joint    which of them the network is for
    """
    with run.autocast():
        moves, log_heatmaps = network(images)
    loss = masked_loss(moves, targets[:, joint], recipe.loss)
    if recipe.heatmaps:
        inside = torch.where((targets.abs() <= 0.5).all(2, keepdim=True), targets, torch.nan)
        cells, count = cell_centres(images.shape[-1], targets.device), (~torch.isnan(inside)).sum()
        loss = loss + recipe.heatmaps * heatmap_loss(log_heatmaps, inside, cells, count)
    loss.backward()
    return loss


def train_epoch(network, optimiser, examples, rows, name, options, state, run):
    """One pass over the rows in a new order, or what is left of it, all its crops an image; returns the mean loss."""
    network.train()
    epoch, size, recipe = state.epoch, options.batch_size, examples.recipe
    steps_an_epoch = math.ceil(len(rows) / size)
    order = runtime.rng(options.seed, name, "order", epoch).permutation(rows)
    batches = [order[start:start + size] for start in range(state.step * size, len(order), size)]
    for batch, frames in runtime.progress(zip(batches, examples.frames.batches(batches)), f"{name} {epoch}",
                                          total=len(batches), unit=" steps", leave=False):
        step = state.step
        drawn = examples.draw(batch, runtime.rng(options.seed, name, "draw", epoch, step))
        images, targets = examples.see(frames, *drawn, network.size_px, run)
        runtime.seed_torch(options.seed, name, "step", epoch, step)  # dropout: a function of seed, epoch and step
        steps_done, steps = steps_an_epoch * (epoch - 1) + step, steps_an_epoch * options.epochs
        optimiser.param_groups[0]["lr"] = recipe.rate(steps_done, steps)
        optimiser.zero_grad()
        loss = gradient(network, images, targets, examples.joint, recipe, run).item()
        state.need_finite(loss, batch)
        optimiser.step()
        if state.average is not None:
            state.average.update_parameters(network)
        state.step, state.total = step + 1, state.total + loss * len(batch)
        state.tick()
    return state.total / len(order)


def initial_weights(name, skeleton, options):
    """The file that a joint's network starts from, None for random weights; InputError where it is not there."""
    if options.weights == "none":
        return None
    path = options.weights
    if options.weights == "former":
        path = options.workdir / f"{model_name(name, options.stage - 1)}.pt"
    elif options.weights == "opposite":
        opposite = skeleton.joints[skeleton.flip[skeleton.index(name)]]
        if opposite == name:
            raise InputError(f"--weights opposite: {name} has no opposite joint")
        path = options.workdir / f"{model_name(opposite, options.stage)}.pt"
    if not path.is_file():
        raise InputError(f"{path}: not found; {STEP_5}")
    return path


def evaluate(network, examples, run):
    """Held-out mean counted error without the network and with it, torso diameters, and its best gain."""
    rows, said, wanted = examples.held_out, [], []
    for boxes, displaced, mirrored in examples.held_out_errors():
        said.append(SIGMA * displacements(network, examples.frames, rows, boxes, run, mirrored))  # torso diameters
        wanted.append(SIGMA * displaced)
    said, wanted = np.stack(said, 1), np.stack(wanted, 1)  # (n, 1 or 2, 2)
    gain = fit_gain(said, wanted)
    losses = {"loss_without": wanted, "loss": wanted - said, "loss_with_gain": wanted - gain * said}
    return {name: float(counted(left).mean()) for name, left in losses.items()} | {"gain": gain}


def train_joint(examples, name, start, settings, options, run):
    """Train one joint's network, or what is left of it, and write model_<name>.pt with the least held-out loss.

    start  the file of its initial weights, or None

    Of epochs without a gain the last: another joint's network may start from it.
    """
    path = options.workdir / f"{model_name(name, options.stage)}.pt"
    rows = runtime.choose_rows(examples.rows, options.rows, options.seed)
    if not len(rows) or not len(examples.held_out):
        raise InputError(f"{options.workdir / 'train_labels.npy'}: no row has a label for {name}; "
                         "LSP_data.py (step 1) makes it")
    settings = settings | {"rows": len(rows)}
    if checkpoint.finished(path, settings, options.resume):
        return
    runtime.seed_torch(options.seed, name, "initial weights")
    recipe, mirrored = options.recipe, options.weights == "opposite"
    network = run.place(Alex_net_c1(recipe.head, len(examples.flip), examples.joint, options.crop_px))
    if start:
        checkpoint.load_into(network, start, f"--weights takes a joint's model_<joint>.pt, of a {recipe.head} head")
        if mirrored:
            network.mirror(examples.flip)
        network.look(examples.joint, options.crop_px)
    optimiser = recipe.optimiser_of(network, run.device)
    state = checkpoint.TrainingState(path, settings, run, network, optimiser, options, recipe.average_of(network))
    with state.catching_signals():
        train(network, optimiser, examples, rows, name, options, state, run)
        called = f"file {start.name}{', mirrored' * mirrored}" if start else "random"
        state.finish({"network": "Alex_net_c1", "joint": name, "seed": options.seed, "stage": options.stage,
                      "initial_weights": called, "skeleton": settings["skeleton"]})
    print(f"{path}: epoch {state.best['epoch']}, gain {state.best['gain']:.2f}", flush=True)


def train(network, optimiser, examples, rows, name, options, state, run):
    """All epochs that are left; state.best and best_weights are then those of the epoch with the least loss."""
    while state.epoch <= options.epochs:
        epoch, began, crop_count = state.epoch, time.perf_counter(), len(rows) - state.step * options.batch_size
        crop_count = max(crop_count, 0) * (options.simulated + 1)
        train_loss = train_epoch(network, optimiser, examples, rows, name, options, state, run)
        seconds = time.perf_counter() - began
        with state.evaluating():
            held_out = evaluate(state.model, examples, run)
        print(f"{name:<15} epoch {epoch}/{options.epochs}  loss {train_loss:.5f}  "
              f"held-out {held_out['loss_with_gain']:.4f} with gain {held_out['gain']:.2f} "
              f"({held_out['loss_without']:.4f} unrefined)  {crop_count / seconds:.0f} crops/s", flush=True)
        state.history.append({"epoch": epoch, "train_loss": train_loss} | held_out)
        files.save_csv(options.workdir / curves_name(name, options.stage), state.history)
        if not state.best or held_out["loss_with_gain"] <= state.best["held_out"]["loss_with_gain"]:
            state.model.gain.fill_(held_out["gain"])
            state.best_weights = checkpoint.weights_of(state.model)
            state.best = {"epoch": epoch, "gain": held_out["gain"], "held_out": held_out}
        state.next_epoch()


def predict_stage_2(workdir, data, frames, first, run):
    """What stage 2 makes of stage 1's joints (N, J, 2) px: train_output_2.npy, written unless it is still right."""
    path = predictions.path_of(workdir, 2)
    if 2 not in stages_here(workdir, data.skeleton):
        missing = workdir / f"{model_name(data.skeleton.joints[0])}.pt"
        raise InputError(f"{missing}: not found, nor any other joint's; {STEP_5}")
    with lock(workdir, path.stem, wait=True):  # other joints' runs want the same
        made_from = predictions.origin(workdir, data, 2)
        if not predictions.made_from(path, made_from):
            second, _ = refine(workdir, data, frames, np.arange(len(first)), first, run)
            predictions.save(path, second, made_from)
    return predictions.load(workdir, data, 2)


def _weights(text):
    return text if text in ("none", "former", "opposite") else Path(text)


def parse(argv):
    """The command line: see --help."""
    parser = runtime.parser(__doc__)
    runtime.add_training_arguments(parser, EPOCHS)
    parser.add_argument("--batch-size", type=shell.at_least(1), default=IMAGES_A_STEP, metavar="N",
                        help="images a step, each with 1 real and --simulated simulated estimates "
                             f"(default: {IMAGES_A_STEP})")
    parser.add_argument("--simulated", type=shell.at_least(0, most=DRAWN), default=SIMULATED, metavar="N",
                        help=f"simulated estimates an image, drawn anew each epoch from {DRAWN} (default: {SIMULATED})")
    parser.add_argument("--stage", type=int, choices=STAGES, default=2, help="of the whole cascade (default: 2)")
    parser.add_argument("--weights", type=_weights, default="none", metavar="none|former|opposite|FILE",
                        help="initial weights: random ones, those of the same joint in the former stage, those of the "
                             "opposite joint in this stage, mirrored, or a model_<joint>.pt, such as another joint's "
                             "that was trained for longer (default: none)")
    recipes.add_arguments(parser, RECIPES)
    parser.add_argument("--crop-px", type=shell.at_least(SMALLEST_CROP_PX, most=LARGEST_CROP_PX), default=CROP_PX,
                        metavar="N", help="cut crops of N x N, for small machines: 129 trains three times as fast "
                             f"(default: {CROP_PX})")
    parser.add_argument("--joints", metavar="A,B", help="train only these, such as left_wrist,head (default: all)")
    parser.add_argument("--make-deltas", action="store_true",
                        help="first draw a new deltas.npy into the working directory, from the held-out errors")
    options = parser.parse_args(argv)
    recipes.choose(parser, options, RECIPES)
    if options.crop_px not in crop_sizes(options.recipe.head):
        parser.error(f"--crop-px {options.crop_px}: the direct head takes crops of {CROP_PX} pixels alone")
    return options


@shell.command
def main(argv=None):
    options = parse(argv)
    if options.weights == "former" and options.stage == 2:
        raise InputError("--weights former: stage 1 has no network of a joint; it is for --stage 3")
    data = arrays.open_dataset(options.workdir)
    skeleton, names = data.skeleton, joints_named(options.joints, data.skeleton)
    starts = {name: initial_weights(name, skeleton, options) for name in names}
    predicted = predictions.load(options.workdir, data)
    run = runtime.choose(options, parallel=True)
    print(run)
    frames = Frames(data.train_images, run.device)
    if options.stage > 2:
        predicted = predict_stage_2(options.workdir, data, frames, predicted, run)
    deltas_path, simulated = deltas.find(options, data, predicted, run)
    print(f"stage {options.stage}: {len(names)} joints, {options.simulated} of the {DRAWN} errors in {deltas_path} "
          f"an image, boxes {SIGMA:g} torso diameters wide, {options.called}")
    settings = {"skeleton": skeleton.name, "epochs": options.epochs, "batch_size": options.batch_size,
                "seed": options.seed, "precision": run.precision, "recipe": vars(options.recipe),
                "simulated": options.simulated, "sigma": SIGMA, "crop_px": options.crop_px,
                "weights": str(options.weights), "deltas": arrays.digest(deltas_path),
                "train_output": arrays.digest(predictions.path_of(options.workdir, options.stage - 1)),
                "dataset": data.digests}
    for name in names[run.rank::run.world]:  # the joints are dealt to the processes
        joint = skeleton.index(name)
        examples = Examples(data, frames, predicted, joint, simulated[joint], options.recipe, options.simulated)
        with lock(options.workdir, model_name(name, options.stage)):
            train_joint(examples, name, starts[name], settings, options, run.alone())
    run.wait()
    print("next: test_stage_2.py")


if __name__ == "__main__":
    sys.exit(main())
