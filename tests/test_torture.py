"""Each of the six steps killed twice at random moments; `python -m tests.torture --kills 10` does
it more often."""

import os

import pytest
from torture import STEPS, Torture


@pytest.fixture(scope="module")
def torture(tmp_path_factory):
    if os.name != "posix":
        pytest.skip("SIGKILL is POSIX's")
    return Torture(tmp_path_factory.mktemp("torture"))


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_broken_and_going_on_gives_the_same_bytes(step, torture):
    torture.chain(step, kills=2, over_former_run=step % 2 == 0)
