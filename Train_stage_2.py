"""Step 5: train refiners, which correct stage 1's estimates from crops around them.

Reads   train_images.npy  train_labels.npy  train_rows.npy  dataset.json
        train_output.npy  deltas.npy
Writes  model_<joint>.pt, one a joint, each with its model_<joint>.json and curves_<joint>.csv
        with --refiner shared one model_shared.pt for all joints instead
Run     python Train_stage_2.py

A third stage, --stage 3, then corrects stage 2's estimates in the same way. It writes what stage 2
makes of the training rows, train_output_2.npy, draws deltas_3.npy, and writes model_3_<joint>.pt.
"""

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

from Cascade_1_net import RECIPES, Alex_net_c1
from deeppose import (
    arrays,
    cascade,
    checkpoint,
    csv_files,
    deltas,
    losses,
    recipe_arguments,
    recipes,
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
from deeppose.skeleton import joints_named
from deeppose.workdir import SHARED, STEP_5

EPOCHS = 7  # original
IMAGES_A_STEP = 10  # original
HALF_BOX = 0.5  # box sides: what lies farther from a crop's centre is outside it


def gradient(network, images, asked, targets, recipe, run):
    """Add the gradient of a batch of crops to the network's, and return the loss.

    images   (n, 3, size, size) in [0, 1]
    asked    (n,): the number of the joint that each crop is for
    targets  (n, J, 2): all joints, in box sides from the crop's centre; NaN without a label
    """
    with run.autocast():
        predicted = network(images, asked)
    own = targets[torch.arange(len(asked), device=targets.device), asked]  # (n, 2)
    loss = losses.masked_loss(predicted.joints, own, recipe.loss)
    if recipe.heatmaps:
        inside = torch.where((targets.abs() <= HALF_BOX).all(2, keepdim=True), targets, torch.nan)
        cells = network.cells((images.shape[3], images.shape[2]), targets.device)
        count = losses.count_of(inside, "mse")
        loss = loss + recipe.heatmaps * losses.heatmap_loss(
            predicted.heatmaps, inside, cells, count, recipe.heatmap_loss
        )
    loss.backward()
    return loss


def train_epoch(network, optimiser, examples, rows, name, options, state, run):
    """One pass over the rows in a new order, or what is left of it, all its crops an image.

    Returns the mean loss.
    """
    network.train()
    epoch = state.epoch
    size = options.batch_size
    recipe = examples.recipe
    steps_an_epoch = math.ceil(len(rows) / size)
    order = runtime.rng(options.seed, name, "order", epoch).permutation(rows)
    batches = [order[start : start + size] for start in range(state.step * size, len(order), size)]
    for batch, frames in runtime.progress(
        zip(batches, examples.frames.batches(batches)),
        f"{name} {epoch}",
        total=len(batches),
        unit=" steps",
        leave=False,
    ):
        # draw this step's crops: a function of seed, epoch and step, as dropout is
        step = state.step
        boxes, targets, asked, views = examples.draw(
            batch, runtime.rng(options.seed, name, "draw", epoch, step)
        )
        images, targets = examples.crops_and_targets(
            frames, boxes, targets, views, network.crop_px, run
        )
        asked = torch.from_numpy(asked).to(run.device).flatten()
        runtime.seed_torch(options.seed, name, "step", epoch, step)
        # set the rate
        steps_done = steps_an_epoch * (epoch - 1) + step
        optimiser.param_groups[0]["lr"] = recipe.rate(steps_done, steps_an_epoch * options.epochs)
        # step
        optimiser.zero_grad()
        loss = gradient(network, images, asked, targets, recipe, run).item()
        state.check_finite(loss, batch)
        optimiser.step()
        if state.average is not None:
            state.average.update_parameters(network)
        state.step = step + 1
        state.total += loss * len(batch)
        state.tick()
    return state.total / len(order)


def initial_weights(name, skeleton, options):
    """The file that a refiner starts from, None for random weights.

    Raises InputError where it is not there.
    """
    if options.weights == "none":
        return None
    path = options.weights
    if options.weights == "former":
        path = workdir.refiner_path(options.workdir, name, options.stage - 1)
    elif options.weights == "opposite":
        opposite = None if name == SHARED else skeleton.joints[skeleton.flip[skeleton.index(name)]]
        if opposite in (None, name):
            raise InputError(f"--weights opposite: {name} has no opposite joint")
        path = workdir.refiner_path(options.workdir, opposite, options.stage)
    if not path.is_file():
        raise InputError(f"{path}: not found; {STEP_5} makes it")
    return path


def start_from(network, path, skeleton, options):
    """Load another refiner's weights into the network, mirrored with --weights opposite.

    Its gains stay.
    """
    made_by = f"--weights takes a refiner's model_<joint>.pt, of a {network.head} head"
    weights = checkpoint.read_weights(path, made_by)
    weights["gain"] = torch.ones_like(network.gain)
    checkpoint.load_weights(network, weights, path, made_by)
    if options.weights == "opposite":
        network.mirror(skeleton.flip)


def build(examples, start, skeleton, options):
    """A refiner's network, with the weights of the file `start`, or random ones for None."""
    network = Alex_net_c1(
        skeleton.joint_count,
        examples.joints.tolist(),
        crop_px=options.crop_px,
        **options.recipe.options,
    )
    if start:
        start_from(network, start, skeleton, options)
    return network


def provenance(examples, start, skeleton, options):
    """What a refiner's .json says of it: all that load_refiner needs, and where it comes from."""
    mirrored = ", mirrored" * (options.weights == "opposite")
    return {
        "network": "Alex_net_c1",
        "joints": [skeleton.joints[joint] for joint in examples.joints],
        "options": options.recipe.options,
        "crop_px": options.crop_px,
        "crop_scale": examples.boxing.scale,
        "smallest_crop_px": examples.boxing.smallest_px,
        "seed": options.seed,
        "stage": options.stage,
        "initial_weights": f"file {start.name}{mirrored}" if start else "random",
        "skeleton": skeleton.described(),
    }


def train_refiner(examples, name, start, data, settings, options, run):
    """Train one refiner, or what is left of it, and write its checkpoint with the least held-out
    loss.

    start  the file of its initial weights, or None

    Of epochs without a gain the last: another joint's network may start from it.
    """
    path = workdir.refiner_path(options.workdir, name, options.stage)
    rows = runtime.choose_rows(examples.rows, options.rows, options.seed)
    if not len(rows) or not len(examples.held_out):
        raise InputError(
            f"{options.workdir / 'train_labels.npy'}: no row has a label for {name}; "
            f"{arrays.STEP_1} makes it"
        )
    settings = settings | {"rows": len(rows)}
    if training_state.finished(path, settings, options.resume):
        return
    # build it, from random weights or another refiner's
    runtime.seed_torch(options.seed, name, "initial weights")
    network = run.place(build(examples, start, data.skeleton, options))
    # go on where an unfinished run stands
    recipe = options.recipe
    optimiser = recipe.optimiser_of(network, run.device)
    state = training_state.TrainingState(
        path, settings, run, network, optimiser, options, recipe.average_of(network)
    )
    state.provenance = provenance(examples, start, data.skeleton, options)
    # train
    with state.catching_signals():
        train(network, optimiser, examples, rows, name, options, state, run)
        state.finish()
    gains = state.best["gain"]
    gains_text = (
        f"gain {gains[0]:.2f}"
        if len(gains) == 1
        else f"gains {' '.join(f'{gain:.2f}' for gain in gains)}"
    )
    print(f"{path}: epoch {state.best['epoch']}, {gains_text}", flush=True)


def train(network, optimiser, examples, rows, name, options, state, run):
    """All epochs that are left; state.best and best_weights are then those of the epoch with the
    least loss."""
    while state.epoch <= options.epochs:
        began = time.perf_counter()
        crop_count = max(len(rows) - state.step * options.batch_size, 0) * (options.simulated + 1)
        train_loss = train_epoch(network, optimiser, examples, rows, name, options, state, run)
        crop_rate = crop_count / (time.perf_counter() - began)
        with state.stop_signals.at_rest():
            by_joint = cascade.held_out_scores(state.model, examples, run)
        record_epoch(state, by_joint, train_loss, crop_rate, name, options)
        state.next_epoch()


def record_epoch(state, by_joint, train_loss, crop_rate, name, options):
    """Report an epoch, and keep its weights if they are the best so far."""
    held_out = {key: float(np.nanmean(values)) for key, values in by_joint.items()}
    print(
        f"{name:<15} epoch {state.epoch}/{options.epochs}  loss {train_loss:.5f}  "
        f"held-out {held_out['loss_with_gain']:.4f} with gain {held_out['gain']:.2f} "
        f"({held_out['loss_without']:.4f} unrefined)  {crop_rate:.0f} crops/s",
        flush=True,
    )
    state.history.append({"epoch": state.epoch, "train_loss": train_loss} | held_out)
    csv_files.save(workdir.curves_path(options.workdir, name, options.stage), state.history)
    found = {
        "epoch": state.epoch,
        "gain": by_joint["gain"],
        "held_out": held_out,
        "by_joint": by_joint,
    }
    state.model.gain.copy_(torch.tensor(by_joint["gain"]))
    state.keep_epoch(found)
    if not state.best or held_out["loss_with_gain"] <= state.best["held_out"]["loss_with_gain"]:
        state.best_weights = checkpoint.weights_of(state.model)
        state.best = found


def predict_stage_2(data, frames, first, options, run):
    """What stage 2 makes of stage 1's joints (N, J, 2) px: train_output_2.npy, written unless it is
    still right."""
    folder = options.workdir
    path = workdir.output_path(folder, 2)
    if 2 not in workdir.stages_here(folder, data.skeleton):
        missing = workdir.refiner_path(folder, data.skeleton.joints[0])
        raise InputError(f"{missing}: not found, nor any other refiner; {STEP_5} makes it")
    with lock(folder, path.stem, wait=True):  # other joints' runs want the same
        made_from = workdir.origin(folder, data, 2)
        if not workdir.is_made_from(path, made_from):
            unsure = np.full(first.shape[:2], np.nan)
            second, _, _ = cascade.refine_from(
                folder, data.skeleton, frames, np.arange(len(first)), first, unsure, run.alone()
            )
            workdir.save_output(path, second, made_from)
    return workdir.load_output(folder, data, 2)


def _weights(text):
    return text if text in ("none", "former", "opposite") else Path(text)


def add_arguments(parser):
    """Add the flags of this step."""
    parser.add_argument(
        "--batch-size",
        type=shell.at_least(1),
        metavar="N",
        help="images a step, each with 1 real and --simulated simulated estimates "
        f"(default: the recipe's, or {IMAGES_A_STEP})",
    )
    parser.add_argument(
        "--simulated",
        type=shell.at_least(0, most=DRAWN),
        metavar="N",
        help=f"simulated estimates an image, drawn anew each epoch from {DRAWN} "
        f"(default: the recipe's, {RECIPES['best'].simulated} of recipe best)",
    )
    parser.add_argument(
        "--refiner",
        choices=("joints", SHARED),
        default="joints",
        help="a network a joint, or one for all joints (default: joints)",
    )
    parser.add_argument(
        "--stage",
        type=int,
        choices=workdir.STAGES,
        default=2,
        help="of the whole cascade (default: 2)",
    )
    parser.add_argument(
        "--weights",
        type=_weights,
        default="none",
        metavar="none|former|opposite|FILE",
        help="initial weights: random ones, those of the same joint in the former stage, those of the "
        "opposite joint in this stage, mirrored, or a model_<joint>.pt, such as another joint's "
        "that was trained for longer (default: none)",
    )
    parser.add_argument(
        "--crop-px",
        type=shell.at_least(1),
        metavar="N",
        help="cut crops of N x N, for small machines: 129 trains three times as fast "
        f"(default: the recipe's, {RECIPES['best'].crop_px} of recipe best)",
    )
    parser.add_argument(
        "--joints", metavar="A,B", help="train only these, such as left_wrist,head (default: all)"
    )
    parser.add_argument(
        "--make-deltas",
        action="store_true",
        help="first draw a new deltas.npy into the working directory, from the held-out errors",
    )


def parse(argv):
    """The command line: see --help."""
    parser = runtime.parser(__doc__)
    runtime.add_training_arguments(parser, EPOCHS)
    runtime.add_model_argument(parser)
    recipe_arguments.add_arguments(parser, RECIPES)
    add_arguments(parser)
    options = parser.parse_args(argv)
    # what is not said is the recipe's
    recipe_arguments.choose(parser, options, RECIPES)
    options.batch_size = options.batch_size or options.recipe.batch_size or IMAGES_A_STEP
    options.crop_px = options.crop_px or options.recipe.crop_px
    if options.simulated is None:
        options.simulated = options.recipe.simulated
    # what does not go together
    if options.simulated > DRAWN:
        parser.error(f"--vary simulated={options.simulated}: only {DRAWN} are drawn")
    if options.refiner == SHARED and options.joints:
        parser.error("--joints: the shared refiner serves all joints")
    try:
        with torch.device("meta"):
            Alex_net_c1(1, (0,), **options.recipe.options, crop_px=options.crop_px)
    except ValueError as error:
        parser.error(f"--crop-px, --vary: {error}")
    return options


@shell.command
def main(argv=None):
    options = parse(argv)
    shell.until_end(runtime.log(options))
    if options.weights == "former" and options.stage == 2:
        raise InputError("--weights former: stage 1 has no network of a joint; it is for --stage 3")
    data = open_dataset(options.workdir)
    skeleton = data.skeleton
    # which refiners, and from which weights
    names = [SHARED] if options.refiner == SHARED else joints_named(options.joints, skeleton)
    if not options.joints:
        names = [name for name in names if name not in data.not_refined]
    starts = {name: initial_weights(name, skeleton, options) for name in names}
    # what the former stage predicts, and by how much it errs
    predicted = workdir.load_output(options.workdir, data, model=workdir.model_path(options))
    run = runtime.choose(options, parallel=True)
    print(run)
    options.recipe = recipes.for_data(options.recipe, data)
    if data.not_refined and not options.joints:
        print(
            f"{', '.join(data.not_refined)}: too few labels to learn from or to be judged by; no refiner"
        )
    frames = Frames(data.train_images, run.device)
    if options.stage > 2:
        predicted = predict_stage_2(data, frames, predicted, options, run)
    deltas_path, simulated = deltas.find(options, data, predicted, run)
    boxing = boxing_of(options.recipe, skeleton)
    print(
        f"stage {options.stage}: {', '.join(names) if len(names) < 3 else f'{len(names)} joints'}, "
        f"{options.simulated} of the {DRAWN} errors in {deltas_path} an image, boxes {boxing.scale:g} times the "
        f"pose's size wide, {options.called}"
    )
    settings = {
        "skeleton": skeleton.name,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "precision": run.precision,
        "recipe": vars(options.recipe),
        "simulated": options.simulated,
        "crop_scale": boxing.scale,
        "crop_px": options.crop_px,
        "weights": str(options.weights),
        "deltas": arrays.digest(deltas_path),
        "train_output": arrays.digest(workdir.output_path(options.workdir, options.stage - 1)),
        "dataset": data.digests,
    }
    for name in names[run.rank :: run.world]:  # the joints are dealt to the processes
        served = (
            [other for other in skeleton.joints if other not in data.not_refined]
            if name == SHARED
            else [name]
        )
        joints = [skeleton.index(joint) for joint in served]
        examples = Examples(
            data, frames, predicted, joints, simulated, options.recipe, options.simulated
        )
        with lock(options.workdir, workdir.refiner_name(name, options.stage)):
            train_refiner(examples, name, starts[name], data, settings, options, run.alone())
    run.wait()
    print("next: test_stage_2.py")


if __name__ == "__main__":
    sys.exit(main())
