"""SIGINT and SIGTERM while a run trains: noted when they come, obeyed once its state is sound."""

import signal
import threading
from contextlib import contextmanager

import torch


class StopAtRest(BaseException):
    """A signal came while nothing was being changed, so that the run may stop at once."""


class StopSignals:
    """The signals that ask a run to stop.

    received    number of the signal that this process got, or None
    agreed      number of the signal that this one of several processes stops for, or None
    is_at_rest  whether nothing is being changed
    """

    def __init__(self, run):
        self.run = run
        self.received = None
        self.agreed = None
        self.is_at_rest = False

    @property
    def pending(self):
        """Number of the signal that ends the run between two steps, or None."""
        return self.received if self.run.world == 1 else self.agreed

    def exchange(self, loss):
        """Mean of the processes' losses.

        They also tell each other of signals, so that all stop after the same step.
        """
        # one sum for both, since each costs a round between the processes
        own_share = [loss / self.run.world, self.received is not None]
        summed = self.run.sum(torch.tensor(own_share, dtype=torch.float64))
        mean_loss, signalled_count = summed.tolist()
        # a process that got no signal itself stops as if it had got SIGTERM
        self.agreed = (self.received or signal.SIGTERM) if signalled_count else None
        return mean_loss

    @contextmanager
    def at_rest(self):
        """Let a signal end the run within this block, in which nothing is changed.

        Of several processes none may leave by itself: they stop together after the next step, see
        exchange.
        """
        self.is_at_rest = self.run.world == 1
        try:
            if self.received and self.is_at_rest:
                raise StopAtRest
            yield
        finally:
            self.is_at_rest = False

    @contextmanager
    def noted(self):
        """Note SIGINT and SIGTERM in this block; a second one ends the run at once."""
        # only the main thread may handle signals
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former_handlers = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            # step 5 trains one joint after the other, each with handlers of its own
            for number, handler in former_handlers.items():
                signal.signal(number, handler)

    def _note(self, number, stack_frame):
        """Handle a signal, as signal.signal calls it."""
        if self.received:
            raise SystemExit(128 + number)
        self.received = number
        if self.is_at_rest:
            raise StopAtRest
