"""Weights, the provenance beside them, and the state of unfinished training.

A model_*.pt is a bare state_dict, float32, on the CPU; its model_*.json says where it came from. A
model_*.resume.pt is there only while a run is unfinished.
"""
import pickle
import signal
import threading
import time
from contextlib import contextmanager

import torch

from deeppose import arrays
from deeppose.shell import InputError, RunError

UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, LookupError, AttributeError)


def weights_of(network):
    """A copy of the network's state_dict, on the CPU, in float32 and plain layout."""
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in network.state_dict().items()}


def size(network):
    """Bytes that the network's checkpoint will take."""
    return sum(value.nbytes for value in network.state_dict().values())


def save(path, weights, provenance):
    """Write provenance (.json), then the state_dict to `path` (.pt): once that is there, both are complete."""
    arrays.save_json(path.with_suffix(".json"), provenance)
    with arrays.replacing(path) as temporary:
        _save(weights, temporary, path)


def _save(content, temporary, path):
    try:
        torch.save(content, temporary)
    except RuntimeError:  # what torch makes of an OSError
        raise RunError(f"{path}: cannot be written; is the disk full?") from None


def read_weights(path, made_by):
    """The state_dict in a file; InputError where it is missing or holds anything but tensors."""
    if not path.is_file():
        raise InputError(f"{path}: not found; {made_by}")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE:
        raise InputError(f"{path}: is no complete file of weights; {made_by}") from None
    if not isinstance(weights, dict) or not all(
            isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in weights.items()):
        raise InputError(f"{path}: holds no state_dict; {made_by}")
    return weights


def load_into(network, path, made_by):
    """Load a state_dict file into a network of the same shapes; InputError where it is another network's."""
    try:
        network.load_state_dict(read_weights(path, made_by))
    except RuntimeError:
        raise InputError(f"{path}: is not {type(network).__name__}'s weights for this skeleton; {made_by}") from None
    return network


class TrainingState:
    """Where a training run stands, so that one that was stopped goes on to the same weights, bit for bit.

    What is drawn at random in a step is a function of (seed, epoch, step), so weights, the optimiser's
    state and the place in the run are all there is to keep. The training loop keeps `epoch`, `step` (the
    next one), `total`, `best`, `best_weights` and `history` here and calls `tick` after each step.
    """
    PLACE = ("epoch", "step", "total", "best", "best_weights", "history", "seconds", "about")

    def __init__(self, path, settings, run, network, optimiser, options):
        """The state of the run that will make `path` (model_<name>.pt); an unfinished one's with --resume.

        settings   what may not differ on --resume
        run        the Runtime: what it is may differ, with a warning; of its processes only the first writes
        options    of the script: resume, save_minutes
        Raises InputError where the saved state is broken or was made with other settings, RunError where
        the disk is too small for what will be written.
        """
        self.model_path, self.path, self.settings, self.run = path, state_path(path), settings, run
        arrays.need_space(path.parent, 9 * size(network))  # a state of 4 (Adam) beside its predecessor, and the model
        self.network, self.optimiser, self.interval = network, optimiser, 60 * options.save_minutes
        self.epoch, self.step, self.total, self.seconds = 1, 0, 0.0, 0.0
        self.best, self.best_weights, self.history, self.about = {}, {}, [], {}
        self.signal, self.stopping, self.counted_at = None, None, time.monotonic()
        self.saved_at = self.counted_at
        if self.path.exists() and options.resume:
            self._load()
        elif self.path.exists() and run.rank == 0:
            print(f"{self.path}: an unfinished run is being replaced (--resume would have gone on with it)")
            self.path.unlink()

    def _load(self):
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            compare_settings(self.path, saved["settings"], self.settings)
            self.network.load_state_dict(saved["network"])
            self.optimiser.load_state_dict(saved["optimiser"])
            for name in self.PLACE:
                setattr(self, name, saved[name])
        except (*UNREADABLE, TypeError):
            raise InputError(f"{self.path}: is no complete training state; start afresh without --resume") from None
        changed = [name for name, value in self.run.facts().items() if saved["run"].get(name) != value]
        if changed:
            print(f"warning: {', '.join(changed)} changed since the run was stopped; the weights may differ in their "
                  "last bits from an undisturbed run's")
        print(f"{self.path}: going on in epoch {self.epoch} after step {self.step}")

    def save(self):
        """Write everything to the path now."""
        self._count()
        self.saved_at = time.monotonic()
        if self.run.rank > 0:
            return
        with arrays.replacing(self.path) as temporary:
            state = {name: getattr(self, name) for name in self.PLACE}
            _save(state | {"settings": self.settings, "run": self.run.facts(), "network": self.network.state_dict(),
                           "optimiser": self.optimiser.state_dict()}, temporary, self.path)

    def _count(self):
        now = time.monotonic()
        self.seconds, self.counted_at = self.seconds + now - self.counted_at, now

    def exchange(self, loss):
        """The mean of the processes' losses; they also tell each other of signals, so that all stop after one step."""
        mean, stopping = self.run.sum(torch.tensor([loss / self.run.world, self.signal is not None],
                                                   dtype=torch.float64)).tolist()
        self.stopping = self.signal or signal.SIGTERM if stopping else None
        return mean

    def tick(self):
        """Between two steps: save if it is time; if a signal came, save and exit with 128 + its number."""
        self._count()
        stopping = self.signal if self.run.world == 1 else self.stopping
        if stopping or time.monotonic() - self.saved_at >= self.interval:
            self.save()
        if stopping:
            print(f"stopped; {self.path} holds the state, --resume goes on with it", flush=True)
            raise SystemExit(128 + stopping)

    def next_epoch(self):
        """After an epoch's last step, and what was made of it."""
        self.epoch, self.step, self.total = self.epoch + 1, 0, 0.0
        self.tick()

    @contextmanager
    def catching_signals(self):
        """Within this block SIGINT and SIGTERM end the run at the next tick, and a second one ends it at once."""
        def note(number, frame):
            if self.signal:
                raise SystemExit(128 + number)
            self.signal = number
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def finish(self, provenance):
        """Write the best weights as the model, with their provenance; the training state is done with."""
        known = {"settings": self.settings, "run": self.run.facts(), "seconds": round(self.seconds, 1)}
        save(self.model_path, self.best_weights,
             provenance | self.about | known | self.best | {"history": self.history})
        self.path.unlink(missing_ok=True)


def compare_settings(path, saved, wanted):
    """InputError naming what differs between the settings of a saved run and the wanted ones."""
    differing = [name for name in {**saved, **wanted} if saved.get(name) != wanted.get(name)]
    if differing:
        name = differing[0]
        raise InputError(f"{path}: was made with other settings: {', '.join(differing)} ({name} was {saved.get(name)}, "
                         f"is {wanted.get(name)}); start afresh without --resume")


def finished(path, settings, resume):
    """Whether --resume finds the run of `path` (.pt) complete; InputError if it was made with other settings."""
    if not resume or not path.exists() or state_path(path).exists():
        return False
    compare_settings(path, arrays.load_json(path.with_suffix(".json"), "the training").get("settings", {}), settings)
    print(f"{path}: is finished")
    return True


def state_path(path):
    """model_1.pt -> model_1.resume.pt."""
    return path.with_suffix(".resume.pt")
