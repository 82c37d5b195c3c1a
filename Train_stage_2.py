"""Step 5: for each joint in turn, train an AlexNet that corrects stage 1's estimate from a crop around it.

Reads   train_images.npy  train_labels.npy  dataset.json  train_output.npy  deltas.npy
Writes  model_<joint>.pt, 14 of them, each with its model_<joint>.json and curves_<joint>.csv
Run     python Train_stage_2.py

A third stage, --stage 3, then corrects stage 2's estimates in the same way. It writes what stage 2 makes of the
training rows, train_output_2.npy, draws deltas_3.npy if it is not there, and writes model_3_<joint>.pt.
"""
import argparse
import difflib
import sys
import time
from pathlib import Path

import numpy as np
import torch

from Cascade_1_net import CROP_PX, SIGMA, STAGES, STEP_5, Alex_net_c1, box_sides, displacements, refine, stages_here
from deeppose import arrays, checkpoint, crops, deltas, files, geometry, predictions, runtime, shell
from deeppose.deltas import DRAWN
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.predictions import curves_name, model_name
from deeppose.shell import InputError

LEARNING_RATE = 5e-4      # Adagrad; original, and DeepPose, section 3.2
FIRST_SQUARES = 1e-3      # Adagrad's sum of squares to begin with; from 0, torch's default, the first step moves all
                          # 58 M weights by the full rate, the loss jumps a thousandfold and most units die
EPOCHS = 7                # original
IMAGES_A_STEP = 10        # original
SIMULATED = 20            # of them used for an image and epoch, see --simulated; original: always the first 20
CLEAR = 2.0               # standard errors by which a gain must help on the held-out rows, or it is 0


class Examples:
    """What one joint's network learns from: estimates around the truth, real and simulated, and their boxes."""

    def __init__(self, data, frames, predicted_px, joint, deltas, simulated=SIMULATED):
        self.frames, self.deltas, self.simulated = frames, deltas, simulated  # deltas (40, 2) px
        self.true = data.train_labels[:, joint].astype(float)  # (N, 2) px
        self.estimates = predicted_px[:, joint].astype(float)  # (N, 2) px
        self.sides = box_sides(predicted_px.astype(float), data.skeleton)  # (N,) px
        labelled = ~np.isnan(self.true).any(1)
        self.rows = data.trained_on[labelled[data.trained_on]]
        self.held_out = data.held_out[labelled[data.held_out]]

    def draw(self, rows, rng):
        """Boxes (n, 21, 3) px and displacements (n, 21, 2) in box sides: the real estimate, then the simulated ones."""
        picks = rng.permuted(np.tile(np.arange(len(self.deltas)), (len(rows), 1)), axis=1)[:, :self.simulated]
        simulated = self.true[rows, None] + self.deltas[picks]  # original: prediction + delta, displaced twice
        estimates = np.concatenate([self.estimates[rows, None], simulated], 1)  # (n, 21, 2) px
        sides = np.broadcast_to(self.sides[rows, None], estimates.shape[:2])
        moves = (self.true[rows, None] - estimates) / sides[..., None]
        return geometry.box_around(estimates, sides).astype(np.float32), moves.astype(np.float32)

    def evaluate(self, network, run):
        """Held-out mean squared displacement left over without the network and with it, and its best gain."""
        estimates, sides = self.estimates[self.held_out], self.sides[self.held_out]
        wanted = (self.true[self.held_out] - estimates) / sides[:, None]
        boxes = geometry.box_around(estimates, sides)
        said = displacements(network, self.frames, self.held_out, boxes, run)
        gain = fit_gain(said, wanted)
        return {"loss_without": float(np.mean(wanted ** 2)), "loss": float(np.mean((wanted - said) ** 2)),
                "loss_with_gain": float(np.mean((wanted - gain * said) ** 2)), "gain": gain}


def fit_gain(said, wanted):
    """The g in [0, 1] with the least squares of wanted - g x said, both (N, 2); 0 unless it clearly helps.

    Clearly: what it takes off a row's squared error is on average CLEAR standard errors above 0.
    """
    said, wanted = said.astype(float), wanted.astype(float)
    power = (said ** 2).sum()
    if len(said) < 2 or power == 0:
        return 0.0
    gain = float(np.clip((said * wanted).sum() / power, 0, 1))
    gained = (wanted ** 2 - (wanted - gain * said) ** 2).sum(1)  # (N,)
    return gain if gained.mean() > CLEAR * gained.std(ddof=1) / np.sqrt(len(gained)) else 0.0


def gradient(network, frames, boxes, moves, run):
    """Add the gradient of a batch of n images with 21 crops each to the network's, and return the loss.

    frames        uint8 (n, frame, frame, 3)
    boxes, moves  (n, 21, 3) px and (n, 21, 2) in box sides, as Examples.draw gives them
    """
    boxes, moves = (torch.from_numpy(part).to(run.device) for part in (boxes, moves))
    cut = crops.crop(crops.to_float(frames, run.dtype), boxes, CROP_PX)  # (n * 21, 3, 227, 227)
    with run.autocast():
        said = network(cut)
    loss = torch.nn.functional.mse_loss(said, moves.flatten(0, 1))
    loss.backward()
    return loss


def optimiser_of(network, run):
    """Adagrad for the network; fused into one pass over its 58 M weights where PyTorch has that."""
    return torch.optim.Adagrad(network.parameters(), LEARNING_RATE, initial_accumulator_value=FIRST_SQUARES,
                               fused=run.device.type == "cpu" or None)


def train_epoch(network, optimiser, examples, rows, name, options, state, run):
    """One pass over the rows in a new order, or what is left of it, all its crops an image; returns the mean loss."""
    network.train()
    epoch, size = state.epoch, options.batch_size
    order = runtime.rng(options.seed, name, "order", epoch).permutation(rows)
    batches = [order[start:start + size] for start in range(state.step * size, len(order), size)]
    for batch, frames in runtime.progress(zip(batches, examples.frames.batches(batches)), f"{name} {epoch}",
                                          total=len(batches), unit=" steps", leave=False):
        step = state.step
        boxes, moves = examples.draw(batch, runtime.rng(options.seed, name, "draw", epoch, step))
        runtime.seed_torch(options.seed, name, "step", epoch, step)  # dropout: a function of seed, epoch and step
        optimiser.zero_grad()
        loss = gradient(network, frames, boxes, moves, run).item()
        state.need_finite(loss, batch)
        optimiser.step()
        state.step, state.total = step + 1, state.total + loss * len(batch)
        state.tick()
    return state.total / len(order)


def initial_weights(name, options):
    """The file that a joint's network starts from; None for random weights."""
    if options.weights == "former":
        return options.workdir / f"{model_name(name, options.stage - 1)}.pt"
    return None if options.weights == "none" else options.weights


def train_joint(examples, name, settings, options, run):
    """Train one joint's network, or what is left of it, and write model_<name>.pt with the least held-out loss."""
    path = options.workdir / f"{model_name(name, options.stage)}.pt"
    rows = runtime.choose_rows(examples.rows, options.rows, options.seed)
    if not len(rows) or not len(examples.held_out):
        raise InputError(f"{options.workdir / 'train_labels.npy'}: no row has a label for {name}; "
                         "LSP_data.py (step 1) makes it")
    settings = settings | {"rows": len(rows)}
    if checkpoint.finished(path, settings, options.resume):
        return
    runtime.seed_torch(options.seed, name, "initial weights")
    network = run.place(Alex_net_c1())
    if start := initial_weights(name, options):
        checkpoint.load_into(network, start, "--weights takes a joint's model_<joint>.pt")
    optimiser = optimiser_of(network, run)
    state = checkpoint.TrainingState(path, settings, run, network, optimiser, options)
    with state.catching_signals():
        train(network, optimiser, examples, rows, name, options, state, run)
        state.finish({"network": "Alex_net_c1", "joint": name, "seed": options.seed, "stage": options.stage,
                      "initial_weights": f"file {start.name}" if start else "random",
                      "skeleton": settings["skeleton"]})
    print(f"{path}: epoch {state.best['epoch']}, gain {state.best['gain']:.2f}", flush=True)


def train(network, optimiser, examples, rows, name, options, state, run):
    """All epochs that are left; state.best and best_weights are then those of the epoch with the least loss."""
    while state.epoch <= options.epochs:
        epoch, began, crop_count = state.epoch, time.perf_counter(), len(rows) - state.step * options.batch_size
        crop_count = max(crop_count, 0) * (options.simulated + 1)
        train_loss = train_epoch(network, optimiser, examples, rows, name, options, state, run)
        seconds = time.perf_counter() - began
        with state.evaluating():
            held_out = examples.evaluate(network, run)
        print(f"{name:<15} epoch {epoch}/{options.epochs}  loss {train_loss:.5f}  "
              f"held-out {held_out['loss_with_gain']:.5f} with gain {held_out['gain']:.2f} "
              f"({held_out['loss_without']:.5f} unrefined)  {crop_count / seconds:.0f} crops/s", flush=True)
        state.history.append({"epoch": epoch, "train_loss": train_loss} | held_out)
        files.save_csv(options.workdir / curves_name(name, options.stage), state.history)
        if not state.best or held_out["loss_with_gain"] < state.best["held_out"]["loss_with_gain"]:
            network.gain.fill_(held_out["gain"])
            state.best_weights = checkpoint.weights_of(network)
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


def joint_names(text, skeleton):
    """The joints that --joints names, in the skeleton's order; InputError for one that is none."""
    if text is None:
        return skeleton.joints
    wanted = [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in skeleton.joints:
            near = difflib.get_close_matches(name, skeleton.joints, 1)
            meant = f"did you mean {near[0]}?" if near else f"the joints are {', '.join(skeleton.joints)}"
            raise InputError(f"--joints: there is no joint {name!r}; {meant}")
    return [name for name in skeleton.joints if name in wanted]


def _simulated(text):
    if not 0 <= int(text) <= DRAWN:
        raise argparse.ArgumentTypeError(f"{text} is not 0 to {DRAWN}")
    return int(text)


def _weights(text):
    return text if text in ("none", "former") else Path(text)


def parse(argv):
    """The command line: see --help."""
    parser = runtime.parser(__doc__)
    runtime.add_training_arguments(parser, EPOCHS)
    parser.add_argument("--batch-size", type=shell.at_least(1), default=IMAGES_A_STEP, metavar="N",
                        help="images a step, each with 1 real and --simulated simulated estimates "
                             f"(default: {IMAGES_A_STEP})")
    parser.add_argument("--simulated", type=_simulated, default=SIMULATED, metavar="N",
                        help=f"simulated estimates an image, drawn anew each epoch from {DRAWN} (default: {SIMULATED})")
    parser.add_argument("--stage", type=int, choices=STAGES, default=2, help="of the whole cascade (default: 2)")
    parser.add_argument("--weights", type=_weights, default="none", metavar="none|former|FILE",
                        help="initial weights: random ones, those of the same joint in the former stage, or a "
                             "model_<joint>.pt, such as another joint's that was trained for longer (default: none)")
    parser.add_argument("--joints", metavar="A,B", help="train only these, such as left_wrist,head (default: all)")
    parser.add_argument("--make-deltas", action="store_true",
                        help="first draw a new deltas.npy into the working directory, from the held-out errors")
    return parser.parse_args(argv)


@shell.command
def main(argv=None):
    options = parse(argv)
    if options.weights == "former" and options.stage == 2:
        raise InputError("--weights former: stage 1 has no network of a joint; it is for --stage 3")
    data = arrays.open_dataset(options.workdir)
    skeleton, names = data.skeleton, joint_names(options.joints, data.skeleton)
    for name in names:
        start = initial_weights(name, options)
        if start and not start.is_file():
            raise InputError(f"{start}: not found; {STEP_5}")
    predicted = predictions.load(options.workdir, data)
    run = runtime.choose(options, parallel=True)
    print(run)
    frames = Frames(data.train_images, run.device)
    if options.stage > 2:
        predicted = predict_stage_2(options.workdir, data, frames, predicted, run)
    deltas_path, simulated = deltas.find(options, data, predicted, run)
    print(f"stage {options.stage}: {len(names)} joints, {options.simulated} of the {DRAWN} errors in {deltas_path} "
          f"an image, boxes {SIGMA:g} torso diameters wide, Adagrad {LEARNING_RATE}")
    settings = {"skeleton": skeleton.name, "epochs": options.epochs, "batch_size": options.batch_size,
                "seed": options.seed, "precision": run.precision, "learning_rate": LEARNING_RATE,
                "optimiser": "Adagrad", "first_squares": FIRST_SQUARES, "loss": "MSE", "simulated": options.simulated,
                "sigma": SIGMA, "weights": str(options.weights), "deltas": arrays.digest(deltas_path),
                "train_output": arrays.digest(predictions.path_of(options.workdir, options.stage - 1)),
                "dataset": data.digests}
    for name in names[run.rank::run.world]:  # the joints are dealt to the processes
        joint = skeleton.index(name)
        examples = Examples(data, frames, predicted, joint, simulated[joint], options.simulated)
        with lock(options.workdir, model_name(name, options.stage)):
            train_joint(examples, name, settings, options, run.alone())
    run.wait()
    print("next: test_stage_2.py")


if __name__ == "__main__":
    sys.exit(main())
