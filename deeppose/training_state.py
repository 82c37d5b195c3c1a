"""The state of unfinished training, saved and resumed, and the provenance of the model it makes.

A model_*.resume.pt is there only while a run is unfinished.
"""

import math
import time
from contextlib import contextmanager

import torch

from deeppose import checkpoint, code_version, files, workdir
from deeppose.shell import InputError, RunError
from deeppose.stop_signals import StopAtRest, StopSignals


class TrainingState:
    """A training run and how far it has come: one that was stopped goes on to the same weights.

    Bit for bit on the CPU in fp32; in bf16 and on GPUs that is not promised.

    What is drawn at random in a step is a function of (seed, epoch, step), so the weights, the
    optimiser's state and the attributes in RESUMED are all there is to keep. The training loop
    keeps `epoch`, `step` (the next one), `total` (of the epoch's losses), `best`, `best_weights`
    and `history` here and calls `tick` after each step.
    """

    RESUMED = ("epoch", "step", "total", "best", "best_weights", "history", "seconds", "about")

    def __init__(self, path, settings, run, network, optimiser, options, average=None):
        """Begin the state of the run that will make `path` (model_<name>.pt).

        With --resume it is an unfinished run's.

        settings   what may not differ on --resume
        run        the Runtime, which may differ, with a warning, as may the code; only the first of
                   its processes writes
        options    of the script: resume, save_minutes, keep_epochs, epochs
        average    of the network's weights, an AveragedModel that the training loop updates:
                   `model` is then the averaged network
        Raises InputError where the saved state is broken or was made with other settings, RunError
        where the disk is too small for what will be written.
        """
        # the files, and what their provenance tells of the run
        self.model_path = path
        self.path = state_path(path)
        self.settings = settings
        self.run = run
        self.run_facts = run.facts() | {
            "code": code_version.code_digest(),
            "commit": code_version.commit(),
        }
        self.keep_epochs = options.keep_epochs
        kept_count = options.epochs // self.keep_epochs if self.keep_epochs else 0
        # in networks' sizes: a state of 5 (Adam), the former state of 5, and the model
        needed_bytes = (11 + kept_count) * checkpoint.size(network)
        files.need_space(path.parent, needed_bytes, (path, self.path, path.with_suffix(".json")))
        # what is trained
        self.network = network
        self.optimiser = optimiser
        self.average = average
        # the weights that are evaluated, and become the model
        self.model = network if average is None else average.module
        # how far the run has come
        self.epoch = 1
        self.step = 0
        self.total = 0.0
        self.seconds = 0.0
        self.best = {}
        self.best_weights = {}
        self.history = []
        self.about = {}
        # the model's .json, before what training finds is added
        self.provenance = {}
        self.stop_signals = StopSignals(run)
        # the clock, in seconds
        self.save_interval = 60 * options.save_minutes
        self.counted_at = time.monotonic()
        self.saved_at = self.counted_at
        if self.path.exists() and options.resume:
            self._load()
        elif run.rank == 0:
            self._remove_former_run()

    def _remove_former_run(self):
        """Remove what a former run left that would be taken for this one's."""
        if self.path.exists():
            print(
                f"{self.path}: an unfinished run is being replaced "
                "(--resume would have gone on with it)"
            )
            self.path.unlink()
        kept_paths = workdir.kept_epochs(self.model_path).values()
        if kept_paths:
            print(f"{self.model_path}: {len(kept_paths)} epochs that a former run kept are removed")
        for kept_path in kept_paths:
            kept_path.unlink()
            kept_path.with_suffix(".json").unlink(missing_ok=True)

    # resuming

    def _load(self):
        """Go on from the saved state; InputError where it is broken or of other settings."""
        try:
            saved = checkpoint.read(self.path)
            compare_settings(self.path, saved["settings"], self.settings)
            changed = self._changed_run_facts(saved["run"])
            self._restore(saved)
        except InputError:
            raise
        except Exception:  # whatever a broken file leads torch to
            raise InputError(
                f"{self.path}: is no complete training state; start afresh without --resume"
            ) from None
        if changed:
            print(
                f"warning: {', '.join(changed)} changed since the run was stopped; the weights may "
                "differ in their last bits from an undisturbed run's"
            )
        print(f"{self.path}: going on in epoch {self.epoch} after step {self.step}")

    def _changed_run_facts(self, run_facts_before):
        """Names of the run's facts that have changed; its commit becomes that of both codes."""
        # the code's digest says better than its commit whether it has changed
        changed = [
            name
            for name, value in self.run_facts.items()
            if name != "commit" and run_facts_before.get(name) != value
        ]
        self.run_facts["commit"] = code_version.joined_commits(
            run_facts_before.get("commit"),
            self.run_facts["commit"],
            same_code="code" not in changed,
        )
        return changed

    def _restore(self, saved):
        """Take over weights, optimiser and progress; some error where one is missing or wrong."""
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        for name in self.RESUMED:
            if type(saved[name]) is not type(getattr(self, name)):
                raise TypeError(name)
            setattr(self, name, saved[name])

    # between two steps

    def tick(self):
        """Save between two steps if it is time; if a signal came, exit with 128 + its number."""
        self._count_seconds()
        signal_number = self.stop_signals.pending
        if signal_number or time.monotonic() - self.saved_at >= self.save_interval:
            self.save()
        if signal_number:
            self._exit_resumable(signal_number)

    def next_epoch(self):
        """Go on to the next epoch, after the last step of this one and its evaluation."""
        self.epoch = self.epoch + 1
        self.step = 0
        self.total = 0.0
        self.tick()

    def save(self):
        """Write everything to the path now."""
        self._count_seconds()
        self.saved_at = time.monotonic()
        # the processes' states are the same, so that one file is enough
        if self.run.rank > 0:
            return
        with files.replacing(self.path) as temporary_path:
            state = {name: getattr(self, name) for name in self.RESUMED}
            state |= {
                "settings": self.settings,
                "run": self.run_facts,
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
            }
            if self.average is not None:
                state["average"] = self.average.state_dict()
            checkpoint.write(state, temporary_path, self.path)

    def _count_seconds(self):
        """Add the time since the last call to the run's seconds."""
        now = time.monotonic()
        self.seconds = self.seconds + now - self.counted_at
        self.counted_at = now

    def _exit_resumable(self, signal_number):
        """Exit on a signal, with the state saved."""
        print(f"stopped; {self.path} holds the state, --resume goes on with it", flush=True)
        raise SystemExit(128 + signal_number)

    @contextmanager
    def catching_signals(self):
        """Let SIGINT and SIGTERM end the run, saved, as soon as its state is sound in this block.

        That is at the next tick, at once in a block of stop_signals.at_rest, or after `finish` if
        they come in it. A second signal ends the run at once.
        """
        with self.stop_signals.noted():
            try:
                yield
            except StopAtRest:
                self.save()
                self._exit_resumable(self.stop_signals.received)
        if self.stop_signals.received:  # it came in finish
            print(f"stopped; {self.model_path} is complete", flush=True)
            raise SystemExit(128 + self.stop_signals.received)

    def check_finite(self, loss, batch_rows):
        """Raise RunError where the loss or a gradient is NaN or infinite.

        It is called between backward and the optimiser's step. The error names the step, the losses
        so far and the row numbers (n,) of the batch. What was saved before stays.
        """
        quantity = "loss"
        value = loss
        if math.isfinite(loss):
            # one norm over all gradients is finite only where each of them is
            gradients = [
                weight.grad for weight in self.network.parameters() if weight.grad is not None
            ]
            quantity = "gradient's norm"
            value = torch.nn.utils.get_total_norm(gradients).item()
        if math.isfinite(value):
            return
        last_losses = ", ".join(f"{entry['train_loss']:.5f}" for entry in self.history[-10:])
        row_numbers = " ".join(map(str, batch_rows))
        raise RunError(
            f"{self.model_path}: epoch {self.epoch}, step {self.step}: "
            f"the {quantity} is {value}, so training stopped before this step; "
            f"losses of the epochs before: {last_losses or 'none'}; "
            f"rows of train_images.npy in the batch: {row_numbers}. "
            "Are the initial weights and the labels sound?"
        )

    # the weights that the run makes

    def keep_epoch(self, results):
        """Write the weights as model_1.epoch_N.pt where --keep-epochs wants that.

        results  of the epoch, entries of the .json, as `best` would have them
        """
        if self.keep_epochs and self.epoch % self.keep_epochs == 0:
            path = workdir.epoch_path(self.model_path, self.epoch)
            self._write_weights(path, checkpoint.weights_of(self.model), results)

    def finish(self):
        """Write the best weights as the model, with their provenance, and remove the state."""
        self._write_weights(self.model_path, self.best_weights, self.best)
        self.path.unlink(missing_ok=True)

    def _write_weights(self, path, weights, results):
        """Write weights, and their provenance beside them."""
        of_run = {
            "settings": self.settings,
            "run": self.run_facts,
            "seconds": round(self.seconds, 1),
        }
        provenance = self.provenance | self.about | of_run | results | {"history": self.history}
        checkpoint.save(path, weights, provenance)


def compare_settings(path, saved_settings, wanted_settings):
    """Raise InputError naming what differs between a saved run's settings and the wanted ones."""
    differing = [
        name
        for name in {**saved_settings, **wanted_settings}
        if saved_settings.get(name) != wanted_settings.get(name)
    ]
    if differing:
        name = differing[0]
        raise InputError(
            f"{path}: was made with other settings: {', '.join(differing)} "
            f"({name} was {saved_settings.get(name)}, is {wanted_settings.get(name)}); "
            "start afresh without --resume"
        )


def finished(model_path, settings, resume):
    """Whether --resume finds the run that makes `model_path` (.pt) complete.

    Raises InputError if it was made with other settings.
    """
    # a state beside the model is a later run's, which is unfinished
    if not resume or not model_path.exists() or state_path(model_path).exists():
        return False
    provenance_path = model_path.with_suffix(".json")
    provenance = files.load_json(provenance_path, "the training")
    settings_then = provenance.get("settings", {})
    run_then = provenance.get("run", {})
    if not isinstance(settings_then, dict) or not isinstance(run_then, dict):
        raise InputError(f"{provenance_path}: an entry is wrong; start afresh without --resume")
    compare_settings(model_path, settings_then, settings)
    # a later run may have been killed while it saved its first state
    files.remove_unfinished((model_path, state_path(model_path), provenance_path))
    print(f"{model_path}: is finished")
    if run_then.get("code") != code_version.code_digest():
        print("warning: the code has changed since; without --resume it is trained anew")
    return True


def state_path(model_path):
    """model_1.pt -> model_1.resume.pt."""
    return model_path.with_suffix(".resume.pt")
