"""Step 2: train the ResNet-34 that regresses all joints from a whole frame.

Reads   train_images.npy  train_labels.npy  dataset.json
Writes  model_1.pt (the epoch with the best held-out PDJ@0.2)  model_1.json  curves_stage_1.csv
Run     python Train_stage_1.py
"""
import math
import os
import sys
import time

import numpy as np
import torch

from deeppose import arrays, checkpoint, crops, files, geometry, metrics, runtime, shell
from deeppose.loader import Frames
from deeppose.locks import lock
from Resnet_stage_1 import Resnet_stage_1, load_initial, predict_joints

LEARNING_RATE = 5e-4      # Adam; original
WARM_UP_STEPS = 100       # over which the rate rises to that (original: none): Adam's first steps are of full size
                          # whatever the gradient, and left only 11-20 % of the 4096 hidden units alive
BATCH_SIZE = 64           # original
EPOCHS = 200              # original
CHOSEN_BY = "0.20"        # held-out PDJ@0.2 chooses the epoch (original: PDJ@0.5 of the test set)


def masked_mse(predicted, true, count=None):
    """Mean squared error of (N, K) over the labelled coordinates; NaN in `true` means no label.

    count  what to divide by, where it is not their number in `true`
    """
    labelled = ~torch.isnan(true)
    error = torch.where(labelled, predicted - torch.nan_to_num(true), 0)
    return error.square().sum() / (labelled.sum() if count is None else count).clamp(min=1)


def optimiser_of(network, run):
    """Adam for the network, fused into one pass over its weights where PyTorch has that."""
    return torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=run.device.type in ("cpu", "cuda"))


def gradient(network, frames, targets, part, run):
    """Add a batch's gradient to the network's, and return the loss; the process works on its part of the batch.

    frames   uint8 (n, frame, frame, 3), of this process's part
    targets  (N, 2J) of the whole batch, NaN without a label
    part     slice of the batch that is this process's
    """
    with run.autocast():
        predicted = network(crops.to_float(frames, run.dtype))
    # Gradients are averaged over the processes: with this count that makes the whole batch's mean.
    loss = masked_mse(predicted, targets[part], (~torch.isnan(targets)).sum() / run.world)
    loss.backward()
    return loss


def train_epoch(network, optimiser, frames, targets, rows, options, state, run):
    """One pass over the rows in a new order, or what is left of it; returns the mean loss."""
    network.train()
    epoch, size, part = state.epoch, options.batch_size, slice(run.rank, None, run.world)
    order = runtime.rng(options.seed, "order", epoch).permutation(rows)
    steps_an_epoch = math.ceil(len(order) / size)
    batches = [order[step * size:(step + 1) * size] for step in range(state.step, steps_an_epoch)]
    batches = [np.resize(batch, max(len(batch), run.world)) for batch in batches]  # no process without a row
    read = frames.batches([batch[part] for batch in batches])
    for batch, images in runtime.progress(zip(batches, read), f"epoch {epoch}", total=len(batches), unit=" steps",
                                          leave=False):
        step = state.step
        # Dropout is a function of seed, epoch, step and process.
        runtime.seed_torch(options.seed, "step", epoch, step, run.rank)
        warm_up = min(1.0, (steps_an_epoch * (epoch - 1) + step + 1) / WARM_UP_STEPS)
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * warm_up
        optimiser.zero_grad()
        loss = gradient(network, images, targets[batch], part, run)
        loss = state.exchange(loss.item())
        state.need_finite(loss, batch)
        optimiser.step()
        state.step, state.total = step + 1, state.total + loss * len(batch)
        state.tick()
    return state.total / len(order)


def evaluate(network, frames, data, targets, run):
    """Loss and scores on the held-out rows."""
    joints = predict_joints(network, frames, data.held_out, data, run)
    outputs = geometry.normalise(joints, data.frame_box).reshape(len(joints), -1)
    loss = masked_mse(torch.from_numpy(outputs), targets[data.held_out].cpu()).item()
    return loss, metrics.score(joints, data.train_labels[data.held_out], data.skeleton)


def report(epoch, options, train_loss, loss, scores, image_rate, seconds_left):
    """One line an epoch."""
    minutes = round(seconds_left / 60)
    print(f"epoch {epoch:>3}/{options.epochs}  loss {train_loss:.5f}  held-out loss {loss:.5f}  "
          f"PDJ@0.2 {scores['pdj']['0.20']:.3f}  strict PCP {scores['pcp_strict']['mean_4']:.3f}  "
          f"{image_rate:.1f} images/s  left {minutes // 60} h {minutes % 60:02} min", flush=True)


def train(network, optimiser, frames, data, rows, options, state, run):
    """All epochs that are left; state.best and best_weights are then those of the best epoch."""
    targets = geometry.normalise(data.train_labels, data.frame_box).reshape(len(data.train_labels), -1)
    targets = torch.from_numpy(targets.astype(np.float32)).to(run.device)  # (N, 2J) in frame sides
    shared = run.share(network)
    while state.epoch <= options.epochs:
        began, skipped = time.perf_counter(), state.step * options.batch_size
        train_loss = train_epoch(shared, optimiser, frames, targets, rows, options, state, run)
        image_rate = max(len(rows) - skipped, 0) / (time.perf_counter() - began)
        if run.rank == 0:
            with state.evaluating():
                loss, scores = evaluate(network, frames, data, targets, run)
            judge(network, loss, scores, train_loss, image_rate, options, state)
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
    return parser.parse_args(argv)


@shell.command
def main(argv=None):
    options = parse(argv)
    data = arrays.open_dataset(options.workdir)
    run = runtime.choose(options, parallel=True)
    print(run)
    rows = runtime.choose_rows(data.trained_on, options.rows, options.seed)
    path = options.workdir / "model_1.pt"
    if os.environ.get("RANK", "0") == "0":  # of several processes that train together the first writes, and locks
        shell.until_end(lock(options.workdir, "model_1"))
    settings = {"rows": len(rows), "epochs": options.epochs, "batch_size": options.batch_size, "seed": options.seed,
                "weights": options.weights, "precision": run.precision, "learning_rate": LEARNING_RATE,
                "optimiser": "Adam", "loss": "masked MSE", "dataset": data.digests}
    if checkpoint.finished(path, settings, options.resume):
        return
    runtime.seed_torch(options.seed, "initial weights")
    network = run.place(Resnet_stage_1(data.skeleton.joint_count))
    optimiser = optimiser_of(network, run)
    state = checkpoint.TrainingState(path, settings, run, network, optimiser, options)
    if not state.about:
        state.about = {"initial_weights": load_initial(network, options.weights)}
    with state.catching_signals():
        print(f"ResNet-34 from {state.about['initial_weights']} weights, {len(rows)} training rows, "
              f"{len(data.held_out)} held out, batch {options.batch_size}, Adam {LEARNING_RATE}", flush=True)
        train(network, optimiser, Frames(data.train_images, run.device), data, rows, options, state, run)
        if run.rank > 0:
            return
        state.finish({"network": "Resnet_stage_1", "skeleton": data.skeleton.name, "seed": options.seed})
    print(f"{path}: epoch {state.best['epoch']}, held-out PDJ@0.2 "
          f"{state.best['held_out']['pdj'][CHOSEN_BY]:.3f}; next: test_stage_1.py")


if __name__ == "__main__":
    sys.exit(main())
