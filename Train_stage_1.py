"""Step 2: train the ResNet-34 that regresses all joints from a whole frame.

Reads   train_images.npy  train_labels.npy  dataset.json
Writes  model_1.pt (the epoch with the best held-out PDJ@0.2)  model_1.json
Run     python Train_stage_1.py
"""
import sys
import time

import numpy as np
import torch
from tqdm import tqdm

from deeppose import arrays, checkpoint, crops, geometry, metrics, runtime, shell
from Resnet_stage_1 import Resnet_stage_1, load_initial, predict_joints

LEARNING_RATE = 5e-4      # Adam; original
BATCH_SIZE = 64           # original
EPOCHS = 200              # original
CHOSEN_BY = "0.20"        # held-out PDJ@0.2 chooses the epoch (original: PDJ@0.5 of the test set)


def masked_mse(predicted, true):
    """Mean squared error of (N, K) over the labelled coordinates; NaN in `true` means no label."""
    labelled = ~torch.isnan(true)
    error = torch.where(labelled, predicted - torch.nan_to_num(true), 0)
    return error.square().sum() / labelled.sum().clamp(min=1)


def train_epoch(network, optimiser, data, targets, rows, options, epoch, run):
    """One pass over the rows in a new order; returns the mean loss."""
    network.train()
    order = runtime.rng(options.seed, "order", epoch).permutation(rows)
    starts = range(0, len(order), options.batch_size)
    total = 0.0
    for step, start in enumerate(tqdm(starts, f"epoch {epoch}", unit=" steps", leave=False, disable=None)):
        batch = order[start:start + options.batch_size]
        runtime.seed_torch(options.seed, "step", epoch, step)  # dropout: a function of seed, epoch and step
        frames = crops.to_float(data.train_images[batch], run.device)
        with run.autocast():
            predicted = network(frames)
        loss = masked_mse(predicted, targets[batch].to(run.device))
        shell.need_finite(loss.item(), f"epoch {epoch}, step {step}")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(batch)
    return total / len(order)


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


def train(network, data, rows, options, run):
    """All epochs; returns the best epoch's weights and what model_1.json says of it."""
    targets = geometry.normalise(data.train_labels, data.frame_box).reshape(len(data.train_labels), -1)
    targets = torch.from_numpy(targets.astype(np.float32))  # (N, 2J) in frame sides
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=run.device.type in ("cpu", "cuda"))
    best_score, best_weights, best, history = -1.0, None, {}, []
    started = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        began = time.perf_counter()
        train_loss = train_epoch(network, optimiser, data, targets, rows, options, epoch, run)
        image_rate = len(rows) / (time.perf_counter() - began)
        loss, scores = evaluate(network, data, targets, run)
        left = (time.perf_counter() - started) / epoch * (options.epochs - epoch)
        report(epoch, options, train_loss, loss, scores, image_rate, left)
        history.append({"epoch": epoch, "train_loss": train_loss, "held_out_loss": loss,
                        "pdj_0.2": scores["pdj"][CHOSEN_BY], "pcp_strict_mean_4": scores["pcp_strict"]["mean_4"]})
        if scores["pdj"][CHOSEN_BY] > best_score:
            best_score, best_weights = scores["pdj"][CHOSEN_BY], checkpoint.weights_of(network)
            best = {"epoch": epoch, "held_out_loss": loss, "held_out": scores}
    return best_weights, best | {"seconds": round(time.perf_counter() - started, 1), "history": history}


def parse(argv):
    parser = shell.parser(__doc__)
    runtime.add_arguments(parser)
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
    runtime.seed_torch(options.seed, "initial weights")
    network = Resnet_stage_1(data.skeleton.joint_count)
    initial = load_initial(network, options.weights)
    print(f"ResNet-34 from {initial} weights, {len(rows)} training rows, {len(data.held_out)} held out, "
          f"batch {options.batch_size}, Adam {LEARNING_RATE}")
    arrays.need_space(options.workdir, checkpoint.size(network))
    weights, best = train(run.place(network), data, rows, options, run)
    settings = {"rows": len(rows), "epochs": options.epochs, "batch_size": options.batch_size,
                "learning_rate": LEARNING_RATE, "optimiser": "Adam", "loss": "masked MSE"}
    provenance = {"network": "Resnet_stage_1", "skeleton": data.skeleton.name, "initial_weights": initial,
                  "seed": options.seed, "settings": settings, "run": run.facts(),
                  "dataset": data.digests} | best
    checkpoint.save(options.workdir / "model_1.pt", weights, provenance)
    print(f"{options.workdir / 'model_1.pt'}: epoch {best['epoch']}, held-out PDJ@0.2 "
          f"{best['held_out']['pdj'][CHOSEN_BY]:.3f}; next: test_stage_1.py")


if __name__ == "__main__":
    sys.exit(main())
