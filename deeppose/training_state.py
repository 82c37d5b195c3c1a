"""The state of unfinished training, saved and resumed, and the provenance of the model it makes.

A model_*.resume.pt is there only while a run is unfinished.
"""

import functools
import hashlib
import math
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from deeppose import checkpoint, files, workdir
from deeppose.shell import InputError, RunError

PROJECT = Path(__file__).resolve().parent.parent
COMMIT_DIGITS = 12
GIT_SECONDS = 5  # it takes 0.01; on a disk that hangs, training goes on without a commit


class _Stop(BaseException):
    """A signal came while nothing was being changed."""


class TrainingState:
    """Place and state of a training run: one that was stopped goes on to the same weights.

    Bit for bit on the CPU in fp32; in bf16 and on GPUs that is not promised.

    What is drawn at random in a step is a function of (seed, epoch, step), so weights, the
    optimiser's state and the place in the run are all there is to keep. The training loop keeps
    `epoch`, `step` (the next one), `total`, `best`, `best_weights` and `history` here and calls
    `tick` after each step.
    """

    PLACE = ("epoch", "step", "total", "best", "best_weights", "history", "seconds", "about")

    def __init__(self, path, settings, run, network, optimiser, options, average=None):
        """Begin the state of the run that will make `path` (model_<name>.pt).

        With --resume it is an unfinished run's.

        settings   what may not differ on --resume
        run        the Runtime: what it is may differ, with a warning, and the code too; of its
                   processes only the first writes
        options    of the script: resume, save_minutes, keep_epochs, epochs
        average    of the network's weights, an AveragedModel that the training loop updates:
                   `model` is then it
        Raises InputError where the saved state is broken or was made with other settings, RunError
        where the disk is too small for what will be written.
        """
        # the files, and what is told of the run in them
        self.model_path = path
        self.path = state_path(path)
        self.settings = settings
        self.run = run
        self.run_facts = run.facts() | {"code": code_digest(), "commit": commit()}
        self.keep_epochs = options.keep_epochs
        kept_count = options.epochs // self.keep_epochs if self.keep_epochs else 0
        # times the network's size: a state of 5 (Adam), its predecessor of 5, and the model
        needed_bytes = (11 + kept_count) * checkpoint.size(network)
        files.need_space(path.parent, needed_bytes, (path, self.path, path.with_suffix(".json")))
        # what is trained
        self.network = network
        self.optimiser = optimiser
        self.average = average
        # the weights that are evaluated, and become the model
        self.model = network if average is None else average.module
        # where the run stands
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
        # signals: this process's, the one that all stop for, and whether it may stop here
        self.signal = None
        self.stopping = None
        self.at_rest = False
        # the clock, in seconds
        self.interval = 60 * options.save_minutes
        self.counted_at = time.monotonic()
        self.saved_at = self.counted_at
        if self.path.exists() and options.resume:
            self._load()
        elif run.rank == 0:
            self._replace_former()

    def _replace_former(self):
        """Remove what a former run left that would be taken for this one's."""
        if self.path.exists():
            print(
                f"{self.path}: an unfinished run is being replaced "
                "(--resume would have gone on with it)"
            )
            self.path.unlink()
        former = workdir.kept_epochs(self.model_path).values()
        if former:
            print(f"{self.model_path}: {len(former)} epochs that a former run kept are removed")
        for path in former:
            path.unlink()
            path.with_suffix(".json").unlink(missing_ok=True)

    def _load(self):
        """Go on from the saved state; InputError where it is broken or of other settings."""
        try:
            saved = checkpoint.read(self.path)
            compare_settings(self.path, saved["settings"], self.settings)
            # whether the code changed its digest tells better than its commit
            changed = [
                name
                for name, value in self.run_facts.items()
                if name != "commit" and saved["run"].get(name) != value
            ]
            same_code = "code" not in changed
            commit_before = saved["run"].get("commit")
            self.run_facts["commit"] = commits_of(
                commit_before, self.run_facts["commit"], same_code
            )
            # weights, and the place in the run
            self.network.load_state_dict(saved["network"])
            self.optimiser.load_state_dict(saved["optimiser"])
            if self.average is not None:
                self.average.load_state_dict(saved["average"])
            for name in self.PLACE:
                if type(saved[name]) is not type(getattr(self, name)):
                    raise TypeError(name)
                setattr(self, name, saved[name])
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

    def save(self):
        """Write everything to the path now."""
        self._count()
        self.saved_at = time.monotonic()
        if self.run.rank > 0:
            return
        with files.replacing(self.path) as temporary:
            state = {name: getattr(self, name) for name in self.PLACE}
            state |= {
                "settings": self.settings,
                "run": self.run_facts,
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
            }
            if self.average is not None:
                state["average"] = self.average.state_dict()
            checkpoint.write(state, temporary, self.path)

    def _count(self):
        """Add the time since the last call to the run's seconds."""
        now = time.monotonic()
        self.seconds = self.seconds + now - self.counted_at
        self.counted_at = now

    def exchange(self, loss):
        """Mean of the processes' losses.

        They also tell each other of signals, so that all stop after one step.
        """
        own_share = [loss / self.run.world, self.signal is not None]
        mean, signalled = self.run.sum(torch.tensor(own_share, dtype=torch.float64)).tolist()
        # one that got no signal itself stops as if it had got SIGTERM
        self.stopping = (self.signal or signal.SIGTERM) if signalled else None
        return mean

    def tick(self):
        """Save between two steps if it is time; if a signal came, exit with 128 + its number."""
        self._count()
        stopping = self.signal if self.run.world == 1 else self.stopping
        if stopping or time.monotonic() - self.saved_at >= self.interval:
            self.save()
        if stopping:
            self._leave(stopping)

    def next_epoch(self):
        """Go on to the next epoch, after the last step of this one and its evaluation."""
        self.epoch = self.epoch + 1
        self.step = 0
        self.total = 0.0
        self.tick()

    def _leave(self, number):
        """Exit on a signal, with the state saved."""
        print(f"stopped; {self.path} holds the state, --resume goes on with it", flush=True)
        raise SystemExit(128 + number)

    def check_finite(self, loss, rows):
        """RunError where the loss or a gradient is NaN or infinite.

        It is called between backward and the optimiser's step. The error names the step, the losses
        so far and the rows (n,) of the batch. What was saved before stays.
        """
        gradients = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        quantity = "loss"
        value = loss
        if math.isfinite(loss):
            quantity = "gradient's norm"
            value = torch.nn.utils.get_total_norm(gradients).item()
        if math.isfinite(value):
            return
        losses = ", ".join(f"{entry['train_loss']:.5f}" for entry in self.history[-10:])
        row_numbers = " ".join(map(str, rows))
        raise RunError(
            f"{self.model_path}: epoch {self.epoch}, step {self.step}: "
            f"the {quantity} is {value}, so training stopped before this step; "
            f"losses of the epochs before: {losses or 'none'}; "
            f"rows of train_images.npy in the batch: {row_numbers}. "
            "Are the initial weights and the labels sound?"
        )

    @contextmanager
    def evaluating(self):
        """Let a signal end the run within this block, in which nothing is changed.

        Of several processes none may leave by itself: they stop together after the next step, see
        exchange.
        """
        self.at_rest = self.run.world == 1
        try:
            if self.signal and self.at_rest:
                raise _Stop
            yield
        finally:
            self.at_rest = False

    @contextmanager
    def catching_signals(self):
        """Let SIGINT and SIGTERM end the run, saved, as soon as its state is sound in this block.

        That is at the next tick, while evaluating at once, in finish after it. A second signal ends
        the run at once.
        """

        def note(number, frame):
            if self.signal:
                raise SystemExit(128 + number)
            self.signal = number
            if self.at_rest:
                raise _Stop

        # only the main thread may handle signals
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        former_handlers = {number: signal.signal(number, note) for number in numbers}
        try:
            yield
        except _Stop:
            self.save()
            self._leave(self.signal)
        finally:
            for number, handler in former_handlers.items():
                signal.signal(number, handler)
        if self.signal:  # it came in finish
            print(f"stopped; {self.model_path} is complete", flush=True)
            raise SystemExit(128 + self.signal)

    def keep_epoch(self, found):
        """Write the weights as model_1.epoch_N.pt where --keep-epochs wants that.

        `found` is what best would be.
        """
        if self.keep_epochs and self.epoch % self.keep_epochs == 0:
            path = workdir.epoch_path(self.model_path, self.epoch)
            self._write(path, checkpoint.weights_of(self.model), found)

    def finish(self):
        """Write the best weights as the model, with their provenance, and remove the state."""
        self._write(self.model_path, self.best_weights, self.best)
        self.path.unlink(missing_ok=True)

    def _write(self, path, weights, found):
        """Write weights, and their provenance beside them."""
        facts = {
            "settings": self.settings,
            "run": self.run_facts,
            "seconds": round(self.seconds, 1),
        }
        facts = self.provenance | self.about | facts | found | {"history": self.history}
        checkpoint.save(path, weights, facts)


def code_digest():
    """sha256 of the project's own imported files: a resumed run warns where they have changed."""
    names = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    paths = {Path(name).resolve() for name in names if name and name.endswith(".py")}
    folders = (PROJECT, PROJECT / "deeppose")
    project_paths = sorted(path for path in paths if path.parent in folders and path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in project_paths)).hexdigest()


@functools.cache  # as the code was imported, whatever is edited while it runs
def commit():
    """The project's git commit, 12 digits, with "+" where a tracked script differs from it.

    None where the project is no git checkout of its own, or git is missing or fails.
    """
    # the commits of a repository around the project are of something else
    if not (PROJECT / ".git").exists():
        return None
    # one call tells the commit and the edited scripts; it takes no lock, so that a git command
    # beside it does not fail
    status = "git --no-optional-locks status --porcelain=v2 --branch --untracked-files=no"
    command = [*status.split(), "--", "*.py"]
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=GIT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.decode(errors="replace").splitlines()
    commits = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    if done.returncode or not commits or commits == ["(initial)"]:
        return None
    is_edited = any(not line.startswith("#") for line in lines)
    return commits[0][:COMMIT_DIGITS] + ("+" if is_edited else "")


def commits_of(before, now, same_code):
    """Commits that trained a resumed run, in order, as "first, second".

    Of commits with the same code the first is enough.
    """
    if not before or not now or same_code or now in before.split(", "):
        return before or now
    return f"{before}, {now}"


def compare_settings(path, saved, wanted):
    """InputError naming what differs between the settings of a saved run and the wanted ones."""
    differing = [name for name in {**saved, **wanted} if saved.get(name) != wanted.get(name)]
    if differing:
        name = differing[0]
        raise InputError(
            f"{path}: was made with other settings: {', '.join(differing)} "
            f"({name} was {saved.get(name)}, is {wanted.get(name)}); start afresh without --resume"
        )


def finished(path, settings, resume):
    """Whether --resume finds the run of `path` (.pt) complete.

    Raises InputError if it was made with other settings.
    """
    if not resume or not path.exists() or state_path(path).exists():
        return False
    facts = files.load_json(path.with_suffix(".json"), "the training")
    settings_then = facts.get("settings", {})
    run_then = facts.get("run", {})
    if not isinstance(settings_then, dict) or not isinstance(run_then, dict):
        raise InputError(
            f"{path.with_suffix('.json')}: an entry is wrong; start afresh without --resume"
        )
    compare_settings(path, settings_then, settings)
    print(f"{path}: is finished")
    if run_then.get("code") != code_digest():
        print("warning: the code has changed since; without --resume it is trained anew")
    return True


def state_path(path):
    """model_1.pt -> model_1.resume.pt."""
    return path.with_suffix(".resume.pt")
