"""Processes that are started here: how their end is told, and that they do not outlive the one that started them."""

import subprocess
import sys

from coscale.processes import manner_of
from tests.patience import PATIENCE, until
from tests.test_batch import is_gone

# A process that measures by one other, and is killed as soon as that has answered.
KILLED = """
import multiprocessing, os, signal
from functools import partial
from pathlib import Path
from coscale.collaborate import PLAIN
from coscale.evaluate import Asked, Settings
from coscale.tiles import ANY_ROOM
from coscale.weights.load import load
from coscale.workers import Workers

with Workers(partial(load, "bicubic-x2"), 1) as run:
    print(*run([Asked("set", Path("missing.png"), Settings(PLAIN))]))
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_how_a_process_ended_is_said() -> None:
    assert manner_of(-9) == "was killed by SIGKILL, by the system if it took too much memory"
    assert manner_of(-11) == "crashed with SIGSEGV"
    assert manner_of(-15) == "was killed by SIGTERM"
    assert manner_of(-40) == "was killed by signal 40"
    assert manner_of(3) == "ended with status 3"
    assert manner_of(None) == "has closed its connection and does not end"


def test_who_measures_ends_with_the_one_that_asked() -> None:
    run = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=PATIENCE)
    answer, pids = run.stdout.splitlines()
    assert "missing.png" in answer, run.stderr
    until(lambda: all(is_gone(int(pid)) for pid in pids.split()))
    assert pids
