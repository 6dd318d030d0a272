"""Processes that are started here: how their end is told."""

from coscale.processes import manner_of


def test_how_a_process_ended_is_said() -> None:
    assert manner_of(-9) == "was killed by SIGKILL, by the system if it took too much memory"
    assert manner_of(-11) == "crashed with SIGSEGV"
    assert manner_of(-15) == "was killed by SIGTERM"
    assert manner_of(-40) == "was killed by signal 40"
    assert manner_of(3) == "ended with status 3"
    assert manner_of(None) == "has closed its connection and does not end"
