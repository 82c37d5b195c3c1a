"""Step 2: train the ResNet-34 that regresses all joints from a whole frame.

Reads   train_images.npy  train_labels.npy  dataset.json
Writes  model_1.pt (the epoch with the best held-out PDJ@0.2)  model_1.json  curves_stage_1.csv
Run     python Train_stage_1.py
"""
import math
import sys
import time

import numpy as np
import torch
from tqdm import tqdm

from deeppose import arrays, checkpoint, crops, geometry, metrics, runtime, shell
from Resnet_stage_1 import Resnet_stage_1, load_initial, predict_joints

LEARNING_RATE = 5e-4      # Adam; original
WARM_UP_STEPS = 100       # over which the rate rises to that (original: none): Adam's first steps are of full size
                          # whatever the gradient, and left only 11-20 % of the 4096 hidden units alive
BATCH_SIZE = 64           # original
EPOCHS = 200              # original
CHOSEN_BY = "0.20"        # held-out PDJ@0.2 chooses the epoch (original: PDJ@0.5 of the test set)


def masked_mse(predicted, true):
    """Mean squared error of (N, K) over the labelled coordinates; NaN in `true` means no label."""
    labelled = ~torch.isnan(true)
    error = torch.where(labelled, predicted - torch.nan_to_num(true), 0)
    return error.square().sum() / labelled.sum().clamp(min=1)


def train_epoch(network, optimiser, data, targets, rows, options, state, run):
    """One pass over the rows in a new order, or what is left of it; returns the mean loss."""
    network.train()
    epoch = state.epoch
    order = runtime.rng(options.seed, "order", epoch).permutation(rows)
    steps_an_epoch = range(math.ceil(len(order) / options.batch_size))
    for step in tqdm(steps_an_epoch[state.step:], f"epoch {epoch}", unit=" steps", leave=False, disable=None):
        batch = order[step * options.batch_size:(step + 1) * options.batch_size]
        runtime.seed_torch(options.seed, "step", epoch, step)  # dropout: a function of seed, epoch and step
        warm_up = min(1.0, (len(steps_an_epoch) * (epoch - 1) + step + 1) / WARM_UP_STEPS)
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * warm_up
        frames = crops.to_float(data.train_images[batch], run.device)
        with run.autocast():
            predicted = network(frames)
        loss = masked_mse(predicted, targets[batch].to(run.device))
        shell.need_finite(loss.item(), f"epoch {epoch}, step {step}")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        state.step, state.total = step + 1, state.total + loss.item() * len(batch)
        state.tick()
    return state.total / len(order)


def evaluate(network, data, targets, run):
    """Loss and scores on the held-out rows."""
    joints = predict_joints(network, data.train_images, data.held_out, data, run)
    outputs = geometry.normalise(joints, data.frame_box).reshape(len(joints), -1)
    loss = masked_mse(torch.from_numpy(outputs), targets[data.held_out]).item()
    return loss, metrics.score(joints, data.train_labels[data.held_out], data.skeleton)


def report(epoch, options, train_loss, loss, scores, image_rate, seconds_left):
    """One line an epoch."""
    minutes = round(seconds_left / 60)
    print(f"epoch {epoch:>3}/{options.epochs}  loss {train_loss:.5f}  held-out loss {loss:.5f}  "
          f"PDJ@0.2 {scores['pdj']['0.20']:.3f}  strict PCP {scores['pcp_strict']['mean_4']:.3f}  "
          f"{image_rate:.1f} images/s  left {minutes // 60} h {minutes % 60:02} min", flush=True)


def train(network, optimiser, data, rows, options, state, run):
    """All epochs that are left; state.best and best_weights are then those of the best epoch."""
    targets = geometry.normalise(data.train_labels, data.frame_box).reshape(len(data.train_labels), -1)
    targets = torch.from_numpy(targets.astype(np.float32))  # (N, 2J) in frame sides
    while state.epoch <= options.epochs:
        epoch, began, skipped = state.epoch, time.perf_counter(), state.step * options.batch_size
        train_loss = train_epoch(network, optimiser, data, targets, rows, options, state, run)
        image_rate = max(len(rows) - skipped, 0) / (time.perf_counter() - began)
        loss, scores = evaluate(network, data, targets, run)
        report(epoch, options, train_loss, loss, scores, image_rate, state.seconds / epoch * (options.epochs - epoch))
        state.history.append({"epoch": epoch, "train_loss": train_loss, "held_out_loss": loss,
                              "pdj_0.2": scores["pdj"][CHOSEN_BY],
                              "pcp_strict_mean_4": scores["pcp_strict"]["mean_4"]})
        arrays.save_csv(options.workdir / "curves_stage_1.csv", state.history)
        if not state.best or scores["pdj"][CHOSEN_BY] > state.best["held_out"]["pdj"][CHOSEN_BY]:
            state.best_weights = checkpoint.weights_of(network)
            state.best = {"epoch": epoch, "held_out_loss": loss, "held_out": scores}
        state.epoch, state.step, state.total = epoch + 1, 0, 0.0
        state.tick()


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
    run = runtime.choose(options)
    print(run)
    rows = runtime.choose_rows(data.trained_on, options.rows, options.seed)
    path = options.workdir / "model_1.pt"
    settings = {"rows": len(rows), "epochs": options.epochs, "batch_size": options.batch_size, "seed": options.seed,
                "weights": options.weights, "precision": run.precision, "learning_rate": LEARNING_RATE,
                "optimiser": "Adam", "loss": "masked MSE", "dataset": data.digests}
    if checkpoint.finished(path, settings, options.resume):
        return
    runtime.seed_torch(options.seed, "initial weights")
    network = run.place(Resnet_stage_1(data.skeleton.joint_count))
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=run.device.type in ("cpu", "cuda"))
    state = checkpoint.TrainingState(path, settings, run.facts(), network, optimiser, options)
    if not state.about:
        state.about = {"initial_weights": load_initial(network, options.weights)}
    print(f"ResNet-34 from {state.about['initial_weights']} weights, {len(rows)} training rows, "
          f"{len(data.held_out)} held out, batch {options.batch_size}, Adam {LEARNING_RATE}", flush=True)
    with state.catching_signals():
        train(network, optimiser, data, rows, options, state, run)
    state.finish({"network": "Resnet_stage_1", "skeleton": data.skeleton.name, "seed": options.seed})
    print(f"{path}: epoch {state.best['epoch']}, held-out PDJ@0.2 "
          f"{state.best['held_out']['pdj'][CHOSEN_BY]:.3f}; next: test_stage_1.py")


if __name__ == "__main__":
    sys.exit(main())
