"""Step 2: train the ResNet-34 that regresses all joints from a whole frame.

Reads   train_images.npy  train_labels.npy  train_rows.npy  dataset.json
Writes  model_1.pt (the epoch with the best held-out PDJ@0.2)  model_1.json  curves_stage_1.csv
Run     python Train_stage_1.py
"""
import math
import os
import sys
import time

import numpy as np
import torch

from deeppose import arrays, augment, checkpoint, crops, files, geometry, leakage, metrics, recipes, runtime, shell
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.losses import heatmap_loss, masked_loss
from deeppose.recipes import Recipe
from deeppose.shell import InputError
from Resnet_stage_1 import Resnet_stage_1, cell_centres, load_initial, predict_joints

BATCH_SIZE = 64           # original
EPOCHS = 200              # original
CHOSEN_BY = "0.20"        # held-out PDJ@0.2 chooses the epoch (original: PDJ@0.5 of the test set)
SMALLEST_INPUT_PX = 64    # 2 x 2 cells of the coarsest features
ORIGINAL = Recipe()       # MSE, Adam 5e-4, no augmentation but step 1's copies
BEST = Recipe(            # each entry with what it gained on the held-out images: README, Accuracy
    head="integral", loss="l1", heatmaps=0.1, optimiser="adamw", weight_decay=0.05, warm_up=200, schedule="cosine",
    turn_deg=20, scale=0.25, shift=0.05, mirror=0.5, colour=0.3, hide=0.3)
RECIPES = {"best": BEST, "original": ORIGINAL}


def gradient(network, images, targets, part, recipe, run):
    """Add a batch's gradient to the network's, and return the loss; the process works on its part of the batch.

    images   (n, 3, size, size) in [0, 1], of this process's part
    targets  (N, J, 2) of the whole batch, normalised, NaN without a label
    part     slice of the batch that is this process's
    """
    with run.autocast():
        predicted, log_heatmaps = network(images.to(run.dtype))
    true = targets[part]
    count = (~torch.isnan(targets)).sum()  # of the whole batch, not of the part
    loss = masked_loss(predicted, true.flatten(1), recipe.loss, count)
    if recipe.heatmaps:
        cells = cell_centres(images.shape[-1], true.device)
        loss = loss + recipe.heatmaps * heatmap_loss(log_heatmaps, true, cells, count)
    loss = run.world * loss  # gradients are averaged over the processes: so that the mean is the whole batch's
    loss.backward()
    return loss


def dealt(batch, world):
    """The n rows of a batch as they are dealt to processes, (max(n, world),): too few are repeated, one for each."""
    return np.resize(batch, max(len(batch), world))


class Examples:
    """What the network learns from: the frames and their joints, as the recipe has them seen."""

    def __init__(self, data, recipe, input_px, run):
        targets = geometry.normalise(data.train_labels, data.frame_box).astype(np.float32)
        self.targets = torch.from_numpy(targets).to(run.device)  # (N, J, 2), in frame sides from the centre
        self.frames, self.flip = Frames(data.train_images, run.device), data.skeleton.flip
        self.recipe, self.size_px = recipe, input_px or data.frame_px

    def see(self, frames, rows, part, world, rng):
        """Images (n, 3, size, size) of the part's frames, and the targets (N, J, 2) of all rows as they are dealt.

        Repeats have no label, so that each row counts once: loss and gradient are those of one process. A process on
        a CPU that has a repeat has nothing else, so the batch statistics of what counts do not see it either; the
        synchronised ones of GPUs do.
        """
        ranges = self.recipe.ranges
        views = augment.draw(len(rows), ranges, rng)
        places = dealt(np.arange(len(rows)), world)  # (N,)
        images = augment.see(crops.to_float(frames), views[places[part]], ranges, self.size_px)
        targets = self.targets[torch.from_numpy(rows)]
        if ranges.moves:
            targets = augment.move(targets, views, self.flip)
        repeats = targets.new_full((len(places) - len(rows), *targets.shape[1:]), torch.nan)
        return images, torch.cat([targets, repeats])


def train_epoch(network, optimiser, examples, rows, options, state, run):
    """One pass over the rows in a new order, or what is left of it; returns the mean loss."""
    network.train()
    epoch, size, part = state.epoch, options.batch_size, slice(run.rank, None, run.world)
    order, recipe = runtime.rng(options.seed, "order", epoch).permutation(rows), examples.recipe
    steps_an_epoch = math.ceil(len(order) / size)
    batches = [order[step * size:(step + 1) * size] for step in range(state.step, steps_an_epoch)]
    read = examples.frames.batches([dealt(batch, run.world)[part] for batch in batches])
    for batch, frames in runtime.progress(zip(batches, read), f"epoch {epoch}", total=len(batches), unit=" steps",
                                          leave=False):
        step = state.step
        # What is drawn is a function of seed, epoch and step; dropout of the process too.
        images, targets = examples.see(frames, batch, part, run.world, runtime.rng(options.seed, "view", epoch, step))
        runtime.seed_torch(options.seed, "step", epoch, step, run.rank)
        steps_done, steps = steps_an_epoch * (epoch - 1) + step, steps_an_epoch * options.epochs
        optimiser.param_groups[0]["lr"] = recipe.rate(steps_done, steps)
        optimiser.zero_grad()
        loss = gradient(network, images, targets, part, recipe, run)
        loss = state.exchange(loss.item())
        state.need_finite(loss, batch)
        optimiser.step()
        if state.average is not None:
            state.average.update_parameters(state.network)
        state.step, state.total = step + 1, state.total + loss * len(batch)
        state.tick()
    return state.total / len(order)


def evaluate(network, examples, data, run):
    """Loss of the coordinates, and scores, on the held-out rows."""
    joints = predict_joints(network, examples.frames, data.held_out, data, run)
    outputs = torch.from_numpy(geometry.normalise(joints, data.frame_box).astype(np.float32))
    loss = masked_loss(outputs, examples.targets[data.held_out].cpu(), examples.recipe.loss).item()
    return loss, metrics.score(joints, data.train_labels[data.held_out], data.skeleton)


def report(epoch, options, train_loss, loss, scores, image_rate, seconds_left):
    """One line an epoch."""
    minutes = round(seconds_left / 60)
    print(f"epoch {epoch:>3}/{options.epochs}  loss {train_loss:.5f}  held-out loss {loss:.5f}  "
          f"PDJ@0.2 {scores['pdj']['0.20']:.3f}  strict PCP {scores['pcp_strict']['mean_4']:.3f}  "
          f"{image_rate:.1f} images/s  left {minutes // 60} h {minutes % 60:02} min", flush=True)


def train(network, optimiser, examples, data, rows, options, state, run):
    """All epochs that are left; state.best and best_weights are then those of the best epoch."""
    shared = run.share(network)
    while state.epoch <= options.epochs:
        began, skipped = time.perf_counter(), state.step * options.batch_size
        train_loss = train_epoch(shared, optimiser, examples, rows, options, state, run)
        image_rate = max(len(rows) - skipped, 0) / (time.perf_counter() - began)
        if run.rank == 0:
            with state.evaluating():
                loss, scores = evaluate(state.model, examples, data, run)
            judge(state.model, loss, scores, train_loss, image_rate, options, state)
        state.next_epoch()


def judge(network, loss, scores, train_loss, image_rate, options, state):
    """Report an epoch, and keep its weights if they are the best so far."""
    epoch = state.epoch
    report(epoch, options, train_loss, loss, scores, image_rate, state.seconds / epoch * (options.epochs - epoch))
    state.history.append({"epoch": epoch, "train_loss": train_loss, "held_out_loss": loss,
                          "pdj_0.2": scores["pdj"][CHOSEN_BY],
                          "pcp_strict_mean_4": scores["pcp_strict"]["mean_4"]})
    files.save_csv(options.workdir / "curves_stage_1.csv", state.history)
    if not state.best or scores["pdj"][CHOSEN_BY] > state.best["held_out"]["pdj"][CHOSEN_BY]:
        state.best_weights = checkpoint.weights_of(network)
        state.best = {"epoch": epoch, "held_out_loss": loss, "held_out": scores}


def parse(argv):
    """The command line: see --help."""
    parser = runtime.parser(__doc__)
    runtime.add_training_arguments(parser, EPOCHS)
    parser.add_argument("--batch-size", type=shell.at_least(1), default=BATCH_SIZE, metavar="N",
                        help=f"images a step (default: {BATCH_SIZE})")
    parser.add_argument("--weights", default="auto", metavar="auto|imagenet|none|FILE",
                        help="initial weights of the ResNet-34: ImageNet's where they can be had (auto), or else "
                             "stop (imagenet), random ones (none), a file in torchvision's format (default: auto)")
    recipes.add_arguments(parser, RECIPES)
    parser.add_argument("--input-px", type=shell.at_least(SMALLEST_INPUT_PX), default=0, metavar="N",
                        help="reduce images to N x N first, for small machines: 129 trains three times as fast "
                             "(default: the whole 227 x 227)")
    options = parser.parse_args(argv)
    recipes.choose(parser, options, RECIPES)
    return options


@shell.command
def main(argv=None):
    options = parse(argv)
    data, recipe = arrays.open_dataset(options.workdir), options.recipe
    if options.input_px > data.frame_px:
        raise InputError(f"--input-px {options.input_px}: the frames have only {data.frame_px} pixels a side")
    run = runtime.choose(options, parallel=True)
    print(run)
    rows = runtime.choose_rows(data.trained_on, options.rows, options.seed)
    trained_on = leakage.describe(data.identities("train")[rows])
    path = options.workdir / "model_1.pt"
    if os.environ.get("RANK", "0") == "0":  # of several processes that train together the first writes, and locks
        shell.until_end(lock(options.workdir, "model_1"))
    settings = {"rows": len(rows), "epochs": options.epochs, "batch_size": options.batch_size, "seed": options.seed,
                "weights": options.weights, "precision": run.precision, "input_px": options.input_px,
                "recipe": vars(recipe), "dataset": data.digests}
    if checkpoint.finished(path, settings, options.resume):
        return
    runtime.seed_torch(options.seed, "initial weights")
    network = run.place(Resnet_stage_1(data.skeleton.joint_count, recipe.head, options.input_px))
    optimiser = recipe.optimiser_of(network, run.device)
    state = checkpoint.TrainingState(path, settings, run, network, optimiser, options,
                                     recipe.average_of(network))
    if not state.about:
        state.about = {"initial_weights": load_initial(network, options.weights)}
    with state.catching_signals():
        print(f"ResNet-34 from {state.about['initial_weights']} weights, {len(rows)} training rows, "
              f"{len(data.held_out)} held out, batch {options.batch_size}, {options.called}", flush=True)
        train(network, optimiser, Examples(data, recipe, options.input_px, run), data, rows, options, state, run)
        if run.rank > 0:
            return
        state.finish({"network": "Resnet_stage_1", "head": recipe.head, "skeleton": data.skeleton.name,
                      "seed": options.seed, "trained_on": trained_on})
    print(f"{path}: epoch {state.best['epoch']}, held-out PDJ@0.2 "
          f"{state.best['held_out']['pdj'][CHOSEN_BY]:.3f}; next: test_stage_1.py")


if __name__ == "__main__":
    sys.exit(main())
