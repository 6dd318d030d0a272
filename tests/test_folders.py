"""Runs over folders: what is taken for a photo, what stands in the way of the others, what is replaced and shown."""

import json
import logging
import os
import re
import signal
import socket
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.spec import AbstractFileSystem

from coscale import console, image
from coscale.batch import runner, store
from coscale.batch.manifest import FIELDS, Manifest
from coscale.cli import main
from coscale.console import escaped
from coscale.errors import DataError, OutputError, SettingsError
from coscale.evaluate import find_sets, read_rows
from coscale.files import IrregularFileError, temporary_name
from coscale.folders import is_photo, photos_below
from coscale.image import SUFFIXES, Photo, read, write
from coscale.lrfile import Origin, read_lr, write_lr
from coscale.outputs import plan_outputs
from coscale.train.data import load as load_photos
from tests.extras import absence, needs
from tests.test_batch import Here

PLAIN = ("--rescaler", "bicubic-x2", "--method", "none")
HCD = ("--rescaler", "bicubic-x2", "--method", "hcd", "--hr-steps", "0", "--lr-steps", "1")


@dataclass(frozen=True)
class Done:
    """What a command gave."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


class WaitsForEverError(BaseException):
    """Not an Exception, which a command may take for one of what it reads."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """The command, in this process; one that waits for ever is ended after a minute."""

    def too_long(*_: object) -> None:
        raise WaitsForEverError

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    handlers = {name: list(logging.getLogger(name).handlers) for name in console._LOGGERS}
    for name in handlers:  # no test before may have left one, whose stream is gone
        logging.getLogger(name).handlers.clear()
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(runner, "_engine", lambda settings, weights_hash, _: Here(settings, weights_hash))

    def command(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["coscale", *map(str, arguments)])
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(60)
        status = 0
        with warnings.catch_warnings():
            try:
                main()
            except SystemExit as end:
                status = int(end.code or 0)
            except WaitsForEverError:
                pytest.fail(f"it waits for ever: {arguments}")
            finally:
                signal.alarm(0)
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return Done(status, shown.out, shown.err)

    yield command
    for number, handler in before.items():
        signal.signal(number, handler)
    for name, kept in handlers.items():
        logging.getLogger(name).handlers[:] = kept


@pytest.fixture
def photo(tmp_path: Path, crop: torch.Tensor) -> Path:
    path = tmp_path / "photo.png"
    write(path, Photo(crop[..., :16, :24]))
    return path


@pytest.fixture
def folder(tmp_path: Path, photo: Path) -> Path:
    """A folder with the photos a.png and z.png, between which others can be put."""
    made = tmp_path / "in"
    for name in ("a.png", "z.png"):
        copy(photo, made / name)
    return made


def copy(photo: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(photo.read_bytes())
    return target


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def both(run: Run, folder: Path, out: Path) -> Iterator[tuple[Done, list[str]]]:
    """What `downscale` and `batch` make of a folder, with the names of the LR files."""
    for command, place in (("downscale", out / "d"), ("batch", out / "b")):
        options = ("-o", place) if command == "downscale" else (place,)
        done = run(command, folder, *options, *PLAIN)
        yield done, [name for name in names(place) if not name.startswith("manifest")]


# Regular files only


def make_irregular(path: Path, kind: str) -> None:
    path.parent.mkdir(exist_ok=True)
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "FIFO":
        pipe = path.parents[1] / "pipe"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        path.symlink_to(pipe)
    else:
        listening = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        listening.bind(path.name)
        os.chdir(here)
        listening.close()


@pytest.mark.parametrize("kind", ["device", "FIFO", "socket"])
def test_what_is_no_regular_file_is_named_and_not_opened(tmp_path: Path, folder: Path, run: Run, kind: str) -> None:
    odd = folder / "m.png"
    make_irregular(odd, kind)
    for command in ("downscale", "upscale", "info"):
        done = run(command, odd)
        assert (done.status, len(done.err.splitlines())) == (1, 1)
        assert f"m.png cannot be read (it is a {kind}, no regular file)" in done.err
    for done, found in both(run, folder, tmp_path / "out"):
        assert (done.status, found) == (1, ["a.x2.png", "z.x2.png"])
        assert done.err.count("m.png") == 1
    make_irregular(tmp_path / "e" / "list.txt", kind)
    parquet = [] if absence("parquet") else ["rows.parquet"]
    for options in (
        *(("batch", tmp_path / "e" / "list.txt", tmp_path / "o", *PLAIN),),
        *(("batch", folder, tmp_path / "o", *PLAIN, "--manifest", tmp_path / "e" / "rows.jsonl"),),
        *(("batch", folder, tmp_path / "o", *PLAIN, "--manifest", tmp_path / "e" / name) for name in parquet),
        *(("downscale", folder / "a.png", "--weights", tmp_path / "e" / "list.txt"),),
        *(("downscale", folder / "a.png", "--upscaler", tmp_path / "e" / "list.txt"),),
        *(("weights", "import", tmp_path / "e" / "list.txt"),),
        *(("downscale", folder / "a.png", "-o", tmp_path / "e" / "list.png", *PLAIN),),
    ):
        for name in ("rows.jsonl", "rows.parquet", "list.png"):
            if not (tmp_path / "e" / name).is_symlink():
                (tmp_path / "e" / name).symlink_to("list.txt")
        done = run(*options)
        assert (done.status, len(done.err.splitlines())) == (1, 1), (options, done)
    with pytest.raises(IrregularFileError, match=f"it is a {kind}"):
        read_rows(tmp_path / "e" / "rows.jsonl")


def test_a_link_to_a_regular_file_is_a_photo(tmp_path: Path, photo: Path, run: Run) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.png").symlink_to(photo)
    for done, found in both(run, tmp_path / "in", tmp_path / "out"):
        assert (done.status, found) == (0, ["link.x2.png"])


# Only the bad one fails


def test_only_the_bad_one_fails(tmp_path: Path, photo: Path, folder: Path, run: Run) -> None:
    long = "m" * 251 + ".png"  # whose result has a name that is too long
    copy(photo, folder / long)
    (folder / "gone.png").symlink_to("/nowhere/photo.png")
    (folder / "loop.png").symlink_to("loop.png")
    out = tmp_path / "out"
    (out / "z.x2.png").mkdir(parents=True)
    done = run("batch", folder, out, *PLAIN, "--manifest", tmp_path / "rows.jsonl")
    assert "1 done, 0 kept, 4 failed" in done.out
    (out / "a.x2.png").unlink()
    done = run("downscale", folder, "-o", out, *PLAIN)
    assert done.status == 1
    assert names(out) == ["a.x2.png"]
    failures = done.err.splitlines()
    assert failures[-1] == "coscale: 4 of 5 failed"
    assert sorted(line.split("/")[-1].split(".")[0] for line in failures[:-1]) == ["gone", "loop", "m" * 251, "z"]
    assert "File name too long" in done.err
    assert "is there already" not in done.out
    again = run("downscale", folder, "-o", out, *PLAIN, "--json")
    assert [("skipped" in row, "error" in row) for row in again.rows] == [(True, False)] + [(False, True)] * 4


def test_a_folder_that_cannot_be_listed_fails_alone(
    tmp_path: Path, photo: Path, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(photo, folder / "locked" / "b.png")
    listed = os.scandir

    def scandir(path: Any = ".") -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for done, found in both(run, folder, tmp_path / "out"):
        assert (done.status, found) == (1, ["a.x2.png", "z.x2.png"])
        assert f"{folder / 'locked'} cannot be listed: Permission denied" in done.err
        assert done.err.splitlines()[-1] == "coscale: 1 of 3 failed"
    with pytest.raises(DataError, match="locked cannot be listed"):
        plan_outputs([folder], tmp_path / "x", beside=".x2.png", inside=".x2.png", allowed=(".png",))


def test_a_photo_that_vanishes_and_a_disk_that_fills_are_failures_of_their_own(
    tmp_path: Path, photo: Path, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("m.png", "n.png", "o.png"):
        copy(photo, folder / name)
    read_whole = image.bytes_of

    def unsteady(path: Path) -> bytes:
        if path.name == "m.png":
            path.unlink()
        if path.name == "n.png":
            raise OSError(5, "Input/output error")
        return read_whole(path)

    monkeypatch.setattr(image, "bytes_of", unsteady)
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).name == "o.x2.png":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    done = run("downscale", folder, "-o", tmp_path / "out", *PLAIN)
    assert done.status == 1
    assert names(tmp_path / "out") == ["a.x2.png", "z.x2.png"]
    reasons = ("m.png does not exist", "n.png: Input/output error", "o.x2.png was not written: the disk is full")
    assert all(reason in line for reason, line in zip(reasons, done.err.splitlines(), strict=False))
    assert done.err.splitlines()[-1] == "coscale: 3 of 5 failed"


def test_what_cannot_be_printed_is_no_photos_fault(
    tmp_path: Path, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(console, "say", full)
    done = run("downscale", folder, "-o", tmp_path / "out", *PLAIN)
    assert (done.status, done.err) == (1, "coscale: No space left on device: standard output\n")


# What is there already


def test_what_is_there_is_left_alone_only_where_it_is_the_same(tmp_path: Path, folder: Path, run: Run) -> None:
    out = tmp_path / "out.png"
    photo = folder / "a.png"
    assert run("downscale", photo, "-o", out, *HCD).status == 0
    first = out.read_bytes()
    same = run("downscale", photo, "-o", out, *HCD)
    assert (same.status, same.out) == (0, f"{out} is there already (--overwrite makes it anew)\n")
    other = tmp_path / "other.png"
    write(other, Photo(read(photo).colour.flip(-1)))
    for inputs, reason in (
        ((other, *HCD), "is of another photo"),
        ((photo, *HCD, "--seed", 1), "with other settings"),
        ((photo, *PLAIN), "by another method"),
        ((photo, *HCD, "--precision", "bfloat16"), "with other settings"),
        ((photo, *HCD[2:], "--rescaler", "light-x2"), "is by bicubic-x2"),
    ):
        done = run("downscale", *inputs, "-o", out)
        assert (done.status, len(done.err.splitlines())) == (1, 1)
        assert reason in done.err
        assert "--overwrite" in done.err
        assert out.read_bytes() == first
    assert run("downscale", other, "-o", out, *HCD, "--overwrite").status == 0
    assert read_lr(out)[1] != read_lr(tmp_path / "out.png", None)[0]
    assert run("downscale", photo, "-o", out, *HCD, "--overwrite").status == 0
    assert out.read_bytes() == first  # the same photo and settings give the same bytes


@pytest.mark.parametrize("there", ["another file", "an older version's", "30 bytes short", "12 bytes short"])
def test_what_does_not_say_what_it_is_is_left_alone_by_an_error(
    tmp_path: Path, photo: Path, run: Run, there: str
) -> None:
    out = tmp_path / "out.png"
    if there == "another file":
        copy(photo, out)
    elif there == "an older version's":
        write_lr(out, Photo(torch.zeros(1, 3, 8, 12)), Origin("bicubic-x2", "", 2, 24, 16, "0.1.0"))
    else:
        run("downscale", photo, "-o", out, *PLAIN)
        out.write_bytes(out.read_bytes()[: -int(there.split()[0])])  # the last 12 say that it is whole
    before = out.read_bytes()
    done = run("downscale", photo, "-o", out, *PLAIN)
    assert (done.status, len(done.err.splitlines())) == (1, 1)
    assert "--overwrite" in done.err
    assert ("older versions" in done.err) == (there == "an older version's")
    assert out.read_bytes() == before


def test_a_restored_photo_says_what_it_is_of(tmp_path: Path, folder: Path, run: Run) -> None:
    lrs = tmp_path / "lr"
    run("downscale", folder, "-o", lrs, *PLAIN)
    back = tmp_path / "back"
    assert run("upscale", lrs, "-o", back).status == 0
    assert [row["skipped"] for row in run("upscale", lrs, "-o", back, "--json").rows] == [True, True]
    run("downscale", folder / "z.png", "-o", lrs / "a.x2.png", *HCD, "--overwrite")
    done = run("upscale", lrs, "-o", back)
    assert done.status == 1
    assert "a.png is there already and was restored from another image" in done.err
    assert "z.png is there already (--overwrite" in done.out
    assert run("upscale", lrs, "-o", back, "--overwrite").status == 0
    # Any other image, by a rescaler that is named; and formats that have no room for a note.
    big = tmp_path / "big.png"
    for name, status in (("bicubic-x2", 0), ("bicubic-x2", 0), ("bicubic-x4", 1)):
        assert run("upscale", folder / "a.png", "--rescaler", name, "-o", big).status == status
    assert [run("upscale", lrs / "a.x2.png", "-o", tmp_path / "b.jpg").status for _ in range(2)] == [0, 1]


def test_batch_replaces_what_its_manifest_knows_and_nothing_else(tmp_path: Path, folder: Path, run: Run) -> None:
    out = tmp_path / "out"
    mine = copy(folder / "a.png", out / "a.x2.png").read_bytes()
    done = run("batch", folder, out, *PLAIN)
    assert "1 done, 0 kept, 1 failed" in done.out
    assert "a.x2.png is there already and is no LR file" in done.err
    assert "--overwrite" in done.err
    assert (out / "a.x2.png").read_bytes() == mine
    assert "1 done, 1 kept, 0 failed" in run("batch", folder, out, *PLAIN, "--overwrite").out
    assert "2 done, 0 kept, 0 failed" in run("batch", folder, out, *HCD).out  # its own, changed
    (out / "manifest.jsonl").unlink()  # as if killed before it had rows
    assert "2 done, 0 kept, 0 failed" in run("batch", folder, out, *HCD).out
    (out / "manifest.jsonl").unlink()
    assert "0 done, 0 kept, 2 failed" in run("batch", folder, out, *PLAIN).out


# Which files are photos


def test_every_suffix_of_a_photo_in_any_case() -> None:
    for suffix in (".jfif", ".jpe", ".mpo", ".heic", ".avif", ".jxl", ".jp2", ".gif", ".JPG"):
        assert is_photo("a" + suffix)
    assert all(is_photo("a" + suffix.upper()) for suffix in SUFFIXES)
    assert not any(map(is_photo, ("a.txt", "a", "._a.jpg", ".a.jpg", temporary_name(".png", "mark-"))))


def test_what_is_left_out_is_counted_and_named(tmp_path: Path, photo: Path, folder: Path, run: Run) -> None:
    for name in ("._a.png", ".thumbnails/t.png", "@eaDir/a.png/t.png", "__MACOSX/._a.png", temporary_name(".png")):
        copy(photo, folder / name)
    for name in ("notes.TXT", "raw.cr2", "second.cr2", "README"):
        (folder / name).write_text("no photo")
    (folder / "unplugged").symlink_to("/mnt/nothing")
    for done, found in both(run, folder, tmp_path / "out"):
        assert (done.status, found) == (0, ["a.x2.png", "z.x2.png"])
        assert done.err.splitlines() == [
            f"coscale: left out of {folder}: 4 files of no photo's suffix (.cr2, none, .txt), 5 hidden names, "
            f"1 link to nothing or to what is done already ({folder / 'unplugged'})"
        ]
    assert find_sets([folder]) == {"in": [folder / "a.png", folder / "z.png"]}
    with pytest.raises(DataError, match="fewer than 2"):
        load_photos([folder], 8)


def test_linked_folders_are_followed_once(tmp_path: Path, photo: Path, folder: Path, run: Run) -> None:
    copy(photo, tmp_path / "elsewhere" / "deep" / "y.png")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    copy(photo, folder / "real" / "x.png")
    (folder / "album").symlink_to("../elsewhere")
    (folder / "album2").symlink_to("../elsewhere")
    (folder / "again").symlink_to("real")
    (folder / "real" / "up").symlink_to(tmp_path)
    (folder / "self").symlink_to(".")
    out = tmp_path / "out"
    for command in ("downscale", "batch"):
        (folder / "results").unlink(missing_ok=True)
        (folder / "results").symlink_to(out / command)
        options = ("-o", out / command) if command == "downscale" else (out / command,)
        for _ in range(2):
            (out / command).mkdir(parents=True, exist_ok=True)
            done = run(command, folder, *options, *PLAIN)
            found = [name for name in names(out / command) if name != "manifest.jsonl"]
            assert found == ["a.x2.png", "album/deep/y.x2.png", "real/x.x2.png", "z.x2.png"], done
            assert done.status == 0
            assert "5 links to nothing or to what is done already" in done.err


def test_photos_to_train_on_may_be_links(tmp_path: Path, crop: torch.Tensor) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "in"
    for k in range(3):
        write(elsewhere / f"{k}.png", Photo(crop.repeat(1, 1, 3, 3)))
    folder.mkdir()
    (folder / "link.png").symlink_to(elsewhere / "0.png")
    (folder / "album").symlink_to(elsewhere)
    found = load_photos([folder], 8)
    assert len(found.images) + len(found.validation) == 3
    assert set(found.sources) <= {"in", "album"}


def test_results_in_a_linked_folder_are_kept(tmp_path: Path, photo: Path, folder: Path, run: Run) -> None:
    copy(photo, folder / "sub" / "b.png")
    out = tmp_path / "out"
    (tmp_path / "disk").mkdir()
    out.mkdir()
    (out / "sub").symlink_to("../disk")
    assert "3 done" in run("batch", folder, out, *PLAIN).out
    assert "0 done, 3 kept" in run("batch", folder, out, *PLAIN).out


def test_leftovers_of_killed_runs_are_no_photos(tmp_path: Path, folder: Path, run: Run) -> None:
    lrs = tmp_path / "lr"
    run("downscale", folder, "-o", lrs, *PLAIN)
    copy(lrs / "a.x2.png", lrs / temporary_name(".png"))
    run("upscale", lrs, "-o", tmp_path / "back")
    assert names(tmp_path / "back") == ["a.png", "z.png"]
    assert [path.name for path in map(Path, photos_below(lrs).photos)] == ["a.x2.png", "z.x2.png"]


def down(folder: Path, out: Path) -> list[str]:
    jobs = plan_outputs([folder], out, beside=".x2.png", inside=".x2.png", allowed=(".png",))
    return [str(target.relative_to(out)) for _, target in jobs]


def test_names_that_differ_in_case_or_suffix_get_one_rule(tmp_path: Path, photo: Path, run: Run) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    accents = [unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")]
    for name in ("a.jpg", "a.png", "B.JPG", "b.png", accents[0] + ".png", accents[1] + ".jpg"):
        copy(photo, folder / name)
    found = down(folder, out)
    keys = {unicodedata.normalize("NFC", name).casefold() for name in found}
    assert len(keys) == len(found) == 6
    assert {"a.jpg.x2.png", "a.png.x2.png", "B.JPG.x2.png", "b.png.x2.png"} <= set(found)
    for done, made in both(run, folder, out):
        assert (done.status, made) == (0, sorted(found))
    copy(photo, folder / "A.png")
    if len(list(folder.iterdir())) == 6:
        pytest.skip("this disk does not tell cases apart")
    with pytest.raises(SettingsError, match=r"A.png and .*a.png would both become"):
        down(folder, tmp_path / "out2")


def test_no_result_replaces_another_input(tmp_path: Path, photo: Path, run: Run) -> None:
    lr = tmp_path / "photo.x2.png"
    run("downscale", photo, *PLAIN)
    mine = copy(photo, tmp_path / "photo.restored.png").read_bytes()
    done = run("upscale", lr, tmp_path / "photo.restored.png", "--overwrite", "--rescaler", "bicubic-x2")
    assert done.status == 2
    assert "would replace" in done.err
    assert (tmp_path / "photo.restored.png").read_bytes() == mine


# What is shown and stored


SECRETS = [
    ("https://h/p.jpg?X-Amz-Credential=AKIA&X-Amz-Signature=q9cret", "https://h/p.jpg?***"),
    ("https://h/my p.jpg?sig=a b q9cret", "https://h/my p.jpg?***"),
    ("ftp://me:q9cret@h/p.jpg", "ftp://me@h/p.jpg"),
    ("ftp://me:q9c/ret@h/p.jpg", "ftp://me@h/p.jpg"),
    ("ftp://me:q9@c/ret@h/p.jpg", "ftp://me@h/p.jpg"),
    ("ftp://me:q9?c=ret@h/p.jpg", "ftp://me?***"),
    ("zip://p.png::https://me:q9cret@h/p.zip?token=q9cret", "zip://p.png::https://me@h/p.zip?***"),
    ("https://h/p.jpg#access_token=q9cret", "https://h/p.jpg?***"),
]


@pytest.mark.parametrize(("url", "label"), SECRETS)
def test_labels_have_no_secrets(url: str, label: str) -> None:
    assert store.label(url) == label
    assert "q9" not in store.shown(f"cannot open {url}: no", url)


@pytest.mark.parametrize(
    "place",
    [
        *("/home/me/what?a=b.png", "s3://bucket/what?.jpg", "https://h:8080/@user/a@b.jpg", "sftp://h:22/a@b.png"),
        *("zip://a.png::/tmp/a@b.zip", "https://h/@user/p.jpg", "C:/photos/a.png", "s3://bucket/a:b@c/d.png"),
    ],
)
def test_labels_keep_what_is_no_secret(place: str) -> None:
    assert store.label(place) == place


@pytest.mark.parametrize(("url", "label"), SECRETS, ids=range(len(SECRETS)))
def test_secrets_stay_out_of_lines_and_rows(tmp_path: Path, run: Run, url: str, label: str) -> None:
    photos, out = tmp_path / "list.txt", tmp_path / "out"
    photos.write_text(re.sub("([/@])h/", r"\1nowhere.invalid/", url) + "\n")
    for arguments in ((photos, out, "--json"), (photos, out), (url, out)):
        # Nothing is asked of any network: no store takes an address without a host that resolves, or it is not there.
        done = run("batch", *(re.sub("([/@])h/", r"\1nowhere.invalid/", str(a)) for a in arguments), *PLAIN)
        assert done.status == 1
        kept = (out / "manifest.jsonl").read_text() if (out / "manifest.jsonl").exists() else ""
        for text in (done.out, done.err, kept):
            assert "q9" not in text
            assert "ret@" not in text
            assert "AKIA" not in text


class Web(AbstractFileSystem):
    """A store that is reached by whole URLs, as HTTP is, and whose errors quote them."""

    protocol = "testweb"
    root = Path()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        file = self.root / path.partition("?")[0].rpartition("/")[2]
        if not file.is_file():
            raise ValueError(f"403 for {path}")
        return {"name": path, "size": file.stat().st_size, "type": "file", "ETag": "1"}

    def get_file(self, rpath: str, lpath: str, *_: Any, **__: Any) -> None:
        if "broken" in rpath:
            raise ValueError(f"500 for {rpath!r}")
        Path(lpath).write_bytes((self.root / rpath.partition("?")[0].rpartition("/")[2]).read_bytes())


def test_signed_urls_are_done_and_their_signatures_forgotten(
    tmp_path: Path, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("testweb", Web, clobber=True)
    monkeypatch.setattr(Web, "root", folder)
    (folder / "no.png").write_text("no image")
    copy(folder / "a.png", folder / "broken.png")
    listed, out = tmp_path / "list.txt", tmp_path / "out"
    urls = [f"testweb://h/{name}?X-Amz-Signature=q9" for name in ("a.png", "z.png", "no.png", "gone.png", "broken.png")]
    for signature, counts in (("first", "2 done, 0 kept, 3 failed"), ("second", "0 done, 2 kept, 3 failed")):
        listed.write_text("\n".join(url + signature for url in urls))
        done = run("batch", listed, out, *PLAIN)
        assert counts in done.out, done.err
        assert "403 for testweb://h/gone.png?***" in done.err
        assert "q9" not in done.out + done.err + (out / "manifest.jsonl").read_text()
    assert names(out) == ["h/a.x2.png", "h/z.x2.png", "manifest.jsonl"]
    done = run("batch", urls[0], tmp_path / "one", *PLAIN)
    assert names(tmp_path / "one") == ["a.x2.png", "manifest.jsonl"]
    assert "q9" not in done.out + done.err


def test_signed_urls_that_differ_in_their_values_are_told_apart(tmp_path: Path) -> None:
    from coscale.batch.collection import list_photos, list_results, targets

    (tmp_path / "list.txt").write_text("https://nowhere.invalid/get.jpg?id=1\nhttps://nowhere.invalid/get.jpg?id=2\n")
    out = list_results(str(tmp_path / "out"))
    found = targets(list_photos(str(tmp_path / "list.txt"), out), out, 2)
    assert len({target for _, target in found}) == 2
    assert all("id=" not in target and "get-" in target for _, target in found)


def test_names_cannot_forge_lines(tmp_path: Path, photo: Path, run: Run) -> None:
    folder = tmp_path / "in"
    odd = "a\x1b[2J\u202egpj\nok: all done\x9b\u2028\u2066\x7f.png"
    copy(photo, folder / odd)
    (folder / f"bad-{odd}").write_text("no image")
    (folder / f"folder-{odd}").symlink_to("nowhere")
    copy(photo, folder / "z" / "\u202e.png")
    for done, _ in both(run, folder, tmp_path / "out"):
        shown = done.out + done.err
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in shown.replace("\n", ""))
        assert all(line.startswith(("coscale: ", str(folder), "2 done")) for line in shown.splitlines())
        assert "a\\u001b[2J\\u202egpj\\u000aok" in shown
    for command in ("downscale", "batch"):
        options = ("-o", tmp_path / "j") if command == "downscale" else (tmp_path / "k",)
        rows = run(command, folder, *options, *PLAIN, "--json").rows
        assert str(folder / odd) in [row.get("input") for row in rows]
        assert any(f"bad-{odd} is not" in (row.get("error") or "") for row in rows)
    kept = [json.loads(line) for line in (tmp_path / "k" / "manifest.jsonl").read_text().splitlines()]
    assert str(folder / odd) in [row["input"] for row in kept]
    info = run("info", folder / odd)
    assert len(info.out.splitlines()) == 2
    usage = run("downscale", "--no\nsuch\x1b", status := folder)
    assert (usage.status, len(usage.err.splitlines()), status) == (2, 1, folder)


def test_escapes_are_those_of_json() -> None:
    text = "a\x00\t\x7f\u202e\U000e0041\u200d\u00e9\u5199\ud800\\n"
    shown = escaped(text)
    assert shown.isprintable() or "\u200d" in shown
    assert json.loads('"' + shown.replace("\\n", "\\\\n") + '"') == text
    row = {"name": text}
    assert json.loads(escaped(console.dump(row))) == row
    assert escaped("plain \u5199\u771f \u00e9\u200d") == "plain \u5199\u771f \u00e9\u200d"


def test_what_is_logged_cannot_forge_lines(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("models")
    try:
        raise ValueError("x\x1b[2J\ncoscale: all is well")
    except ValueError as error:
        logging.getLogger("coscale.serve.queue").error("the job \u202e failed", exc_info=error)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "the job \\u202e failed"
    assert all(line.startswith("  ") for line in lines[1:])
    assert "\x1b" not in "".join(lines)


# Rows of wrong types


WRONG: list[tuple[str, object]] = [
    ("output", 7),
    ("output", None),
    ("input", ["a"]),
    ("input_hash", {}),
    ("output_bytes", "9"),
    ("arguments", "none"),
    ("psnr_y", "inf"),
    ("tries", 1.5),
    ("width", True),
    ("input_bytes", 10**30),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_manifest_row_of_a_wrong_type_is_named(
    tmp_path: Path, folder: Path, run: Run, name: str, value: object
) -> None:
    row = dict.fromkeys(FIELDS) | {"input": "/in/a", "output": "/out/a", "arguments": {}}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {name: value}) + "\n")
    before = path.read_text()
    done = run("batch", folder, tmp_path / "out", *PLAIN, "--manifest", path)
    assert (done.status, len(done.err.splitlines())) == (1, 1)
    assert f"{path} is no manifest of coscale batch (line 2: {name} is " in done.err
    assert path.read_text() == before


@needs("parquet")
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_parquet_row_of_a_wrong_type_is_named(tmp_path: Path, name: str, value: object) -> None:
    row = dict.fromkeys(FIELDS) | {"input": "/in/a", "output": "/out/a", "arguments": {}}
    (tmp_path / "rows.parquet.part.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | {name: value}) + "\n")
    with pytest.raises(DataError, match=rf"\(row 2: {name} is "):
        Manifest(tmp_path / "rows.parquet")


@pytest.mark.parametrize("line", ["[" * 100_000, "3", "null", '["output"]', "\x00", "{}"])
def test_a_manifest_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    row = dict.fromkeys(FIELDS) | {"input": "/in/a", "output": "/out/a", "arguments": {}}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n" + line + "\n")
    with pytest.raises(DataError, match="line 2"):
        Manifest(path)
    path.write_text(json.dumps(row) + "\n" + json.dumps(row)[:40])  # cut short by a kill
    with Manifest(path) as manifest:
        assert list(manifest.rows) == ["/out/a"]


@pytest.fixture(scope="module")
def measured(butterfly_path: Path) -> dict[str, Any]:
    """A row of an evaluation, from those that are kept in the repository."""
    rows = Path(__file__).parents[1] / "results" / "paper" / "rows.jsonl"
    return json.loads(rows.read_text().splitlines()[0])


def test_rows_that_are_kept_can_be_read() -> None:
    results = Path(__file__).parents[1] / "results"
    for name in ("paper/rows", "bicubic-x2", "hcd-x2", "shipped", "methods"):
        assert read_rows(results / f"{name}.jsonl")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("set", 3), ("image", None), ("arguments", []), ("psnr_y", "high"), ("height", 0), ("lr_bytes", 2.5)),
        *(("before", 3), ("before", {"psnr_y": "x"}), ("before", {}), ("encode_seconds", []), ("torch", 2)),
        *(("encode_peak_bytes", "much"), ("psnr_cb", {})),
    ],
)
def test_an_evaluation_row_of_a_wrong_type_is_named(
    tmp_path: Path, folder: Path, run: Run, measured: dict[str, Any], name: str, value: object
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, (measured, measured | {name: value}))) + '\n{"cut sho')
    for arguments in (
        ("eval", folder, *PLAIN, "-o", path),
        ("reproduce", "table1", "--data", folder, "-o", tmp_path / "o", "--rows", path),
    ):
        done = run(*arguments)
        assert done.status == 1
        if arguments[0] == "eval":
            assert len(done.err.splitlines()) == 1
            assert f"{path} does not hold rows of an evaluation (line 2: {name}" in done.err
    with pytest.raises(DataError, match="line 2"):
        read_rows(path)


@pytest.mark.parametrize("line", ["[" * 100_000, "3", "null", "{}", "\x00", '["set"]'])
def test_an_evaluation_line_that_is_no_row_is_named(tmp_path: Path, measured: dict[str, Any], line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(measured) + "\n" + line + "\n")
    with pytest.raises(DataError, match="line 2"):
        read_rows(path)
    path.write_text(json.dumps(measured) + '\n{"cut sho')
    assert len(read_rows(path)) == 1


def test_a_folder_that_may_not_be_written_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coscale.files import check_writable

    def locked(self: Path, **_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", locked)
    with pytest.raises(OutputError, match="its folder is not writable"):
        check_writable(tmp_path / "locked" / "a.png")
