"""Broken files through the real readers, a short form of bench.fuzz; and that harm is found where it is done."""

import json
import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import bench.fuzz as script
from bench.fuzz import FuzzLimits, Summary, draw, fuzz
from bench.fuzzed import KINDS, Kind
from bench.mutations import mutate, png_chunks, png_of
from coscale.errors import DataError
from coscale.files import replacing

PATIENT = FuzzLimits(seconds=600)  # on a machine that has much else to do; what hangs does so for longer


def test_broken_files_do_no_harm(tmp_path: Path) -> None:
    for summary in fuzz(KINDS, range(250), 1, tmp_path / "kept", PATIENT):
        assert summary.culprits == []
        assert summary.outcomes.total() == 250
        assert min(summary.outcomes["read"], summary.outcomes["refused"]) > 10  # of neither are there hardly any
    assert not (tmp_path / "kept").exists()


NAMES = ["crash.txt", "fail.txt", "fill.txt", "hang.txt", "leave.txt", "ramble.txt", "refuse.txt"]
RIGHT = b"0123456789" * 10
MADE_UP = [(name, RIGHT) for name in NAMES]


def made_up() -> Iterator[tuple[str, bytes]]:
    yield from MADE_UP


def misbehave(path: Path) -> None:
    """Do with a broken file what its name says."""
    if path.read_bytes() == RIGHT:
        return
    match path.stem:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "fail":
            raise KeyError("a fault")
        case "fill":
            _ = bytearray(b"1") * 400_000_000
        case "hang":
            threading.Event().wait()
        case "leave":
            Path(tempfile.mkdtemp()).joinpath("left").touch()
        case "ramble":
            raise DataError("two\nlines")
        case "refuse":
            with replacing(path.with_name("other.txt")):
                raise DataError("what was begun is removed")


def numbers_of(*names: str) -> list[int]:
    """Numbers of which each draws one of these files, and changes it."""
    found = {}
    for number in range(1000):
        name, content = draw("made up", number, 0, MADE_UP)
        if content != RIGHT:
            found.setdefault(name.removesuffix(".txt"), number)
    return [found[name] for name in names]


def test_harm_is_found_and_its_file_kept(tmp_path: Path) -> None:
    kind = Kind("made up", made_up, misbehave)
    limits = FuzzLimits(PATIENT.seconds, 200_000_000)
    names = ("fail", "fill", "leave", "ramble", "refuse", "crash", "refuse")
    (summary,) = fuzz([kind], numbers_of(*names), 0, tmp_path, limits)
    told = [culprit["problem"] for culprit in summary.culprits]
    for problem, words in zip(
        told,
        (
            "raises KeyError: 'a fault'",
            "takes 0.",
            "leaves temporary/",
            "gives a message of several",
            "ends its process with SIGSEGV",
        ),
        strict=True,
    ):
        assert words in problem
    assert summary.outcomes == Counter(harm=5, refused=2)  # the second time by another process
    for culprit, number in zip(summary.culprits, numbers_of("fail", "fill", "leave", "ramble", "crash"), strict=True):
        assert Path(culprit["file"]).read_bytes() == draw("made up", number, 0, MADE_UP)[1]


def test_what_hangs_is_ended(tmp_path: Path) -> None:
    kind = Kind("made up", made_up, misbehave)
    (summary,) = fuzz(
        [kind], numbers_of("hang"), 0, tmp_path, FuzzLimits(seconds=0.2)
    )  # nothing else is given so little
    assert [culprit["problem"] for culprit in summary.culprits] == ["takes more than 0.2 seconds"]
    assert len(list(tmp_path.iterdir())) == 1


def test_chunks_of_a_png(butterfly_path: Path) -> None:
    data = butterfly_path.read_bytes()
    assert png_of(png_chunks(data)) == data


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name != "checkpoints"], ids=lambda kind: kind.name)
def test_the_same_seed_makes_the_same_files(kind: Kind) -> None:
    """Those of checkpoints take seconds to make; they are changed by the same functions."""
    seeds = [content for _, content in kind.seeds()]
    assert seeds == [content for _, content in kind.seeds()]
    for number, content in enumerate(seeds):
        first, second = (mutate(content, seeds, Random(number)) for _ in range(2))  # noqa: S311
        assert first == second


@pytest.mark.parametrize("culprits", [[], [{"file": "x", "problem": "raises KeyError"}]])
def test_the_script_tells_what_it_found(
    culprits: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def stand_in(kinds: list[Kind], numbers: range, seed: int, keep: Path) -> list[Summary]:
        asked.append(([kind.name for kind in kinds], numbers, seed))
        return [Summary("notes", Counter(read=2, refused=1), culprits)]

    monkeypatch.setattr(script, "fuzz", stand_in)
    monkeypatch.setattr("sys.argv", ["fuzz", "--count", "3", "--first", "7", "--kind", "notes", "--seed", "5"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == bool(culprits)
    told = json.loads(capsys.readouterr().out)
    assert told["kinds"] == [{"kind": "notes", "outcomes": {"read": 2, "refused": 1}, "culprits": culprits}]
    assert asked == [(["notes"], range(7, 10), 5)]
