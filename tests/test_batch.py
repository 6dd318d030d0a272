"""Collections: what is listed, what is done again, what survives a kill, a full disk and bad input."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
import torch
from click.testing import CliRunner, Result
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import infer_storage_options
from PIL import Image

from coscale.batch import Crew, driver, runner, store
from coscale.batch import run as batch_run
from coscale.batch.collection import CollectedPhoto, Results, targets
from coscale.batch.local import Local
from coscale.batch.manifest import FIELDS, Manifest, ManifestRow, Provenance, _write_parquet
from coscale.batch.worker import Assignment, BatchSettings, Done, Failed, Lost, Message, Ready, Worker, _may_pass
from coscale.cli import cli
from coscale.errors import (
    CoscaleError,
    DataError,
    EngineError,
    MemoryNeededError,
    OutputError,
    SettingsError,
    TransferError,
)
from coscale.files import temporary_name
from coscale.image import Photo, read, write
from coscale.lrfile import read_lr
from coscale.metrics import compare
from coscale.pipeline import decode_photo
from coscale.weights.load import load
from tests.extras import needs, skip_without
from tests.patience import PATIENCE, until

PLAIN = ("--rescaler", "bicubic-x2", "--method", "none")
Run = Callable[..., Result]


class Here:
    """An engine without processes: its one worker is this one."""

    slots = 1

    def __init__(self, settings: BatchSettings, weights_hash: str) -> None:
        self.worker = Worker(settings, "cpu", weights_hash)
        self.coming: list[tuple[int, Message]] = []
        self.given: list[str] = []

    def start(self, slot: int) -> None:
        self.coming.append((slot, Ready()))

    def give(self, slot: int, job: Assignment) -> None:
        self.given.append(job.source)
        self.coming.append((slot, self.worker.attempt(job)))

    def wait(self) -> list[tuple[int, Message]]:
        found, self.coming = self.coming, []
        return found

    def stop(self) -> None:
        pass


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Here]:
    """The engines that commands have had since, which are of the kind above."""
    made: list[Here] = []

    def engine(settings: BatchSettings, weights_hash: str, _: Crew) -> Here:
        made.append(Here(settings, weights_hash))
        return made[-1]

    monkeypatch.setattr(runner, "_engine", engine)
    return made


@pytest.fixture
def handlers() -> Iterator[None]:
    """The command says what stops it; afterwards the tests do again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run(handlers: None) -> Run:
    def batch(*arguments: object) -> Result:
        result = CliRunner().invoke(cli, ["batch", *map(str, arguments)])
        if isinstance(result.exception, CoscaleError):
            raise result.exception
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result

    return batch


@pytest.fixture
def photos(tmp_path: Path, crop: torch.Tensor) -> Path:
    """Six photos of 24 x 24 pixels, two of them in a folder below."""
    folder = tmp_path / "photos"
    for k in range(6):
        write(folder / ("below" if k > 3 else "") / f"{k}.png", Photo(crop[..., k : k + 24, k : k + 24]))
    return folder


def many(folder: Path, crop: torch.Tensor, count: int, side: int = 24) -> Path:
    folder.mkdir()
    for k in range(count):
        top, left = k % 5, k % 7
        write(folder / f"{k:03}.png", Photo(crop[..., top : top + side, left : left + side]))
    return folder


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert all(row.keys() == FIELDS.keys() for row in rows)
    return {Path(row["input"]).name: row for row in rows}


def check_whole(out: Path) -> None:
    """Every LR file can be restored, and there is nothing but those, the manifest and folders."""
    for path in out.rglob("*"):
        if path.is_file() and not path.name.startswith("manifest"):
            assert path.name.endswith(".x2.png")
            assert read_lr(path)[1]


HELD = """
import threading
from pathlib import Path
from coscale.batch.worker import Worker

attempt = Worker.attempt

def held(self, job):
    if Path(job.source).stem >= FIRST:
        threading.Event().wait()
    return attempt(self, job)

Worker.attempt = held  # in the workers too, which import this file
if __name__ == "__main__":
    from coscale.cli import main
    main()
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    return started([sys.executable, "-m", "coscale", "batch", *map(str, arguments)])


def started(line: list[str]) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )


def start_held(script: Path, first: str, *arguments: object) -> subprocess.Popen[str]:
    """A run whose worker never ends a photo from the name ``first`` on, so that it cannot be over before its stop."""
    script.write_text(HELD.replace("FIRST", repr(first)))
    return started([sys.executable, str(script), "batch", *map(str, arguments)])


def await_rows(process: subprocess.Popen[str], manifest: Path, count: int) -> None:
    until(lambda: manifest.exists() and manifest.read_bytes().count(b"\n") >= count, lambda: process.poll() is None)


def processes() -> list[list[str]]:
    """Number, number of the parent, and state of each process."""
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    return [line.split() for line in found.splitlines()]


def children(pid: int) -> list[int]:
    return [int(child) for child, parent, _ in processes() if parent == str(pid)]


def is_gone(pid: int) -> bool:
    """Whether a process has ended; its parent may not have asked how."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return any(found == str(pid) and state.startswith("Z") for found, _, state in processes())


# What is done


def test_each_photo_becomes_an_lr_file_and_a_row(
    tmp_path: Path, photos: Path, crop: torch.Tensor, engines: list[Here], run: Run
) -> None:
    write(photos / "grey.png", Photo(crop[:, :1, :31, :23]))
    write(photos / "alpha.png", Photo(crop, crop[:, :1]))
    Image.new("I;16", (20, 20), 30000).save(photos / "deep.png")
    out = tmp_path / "out"
    options = (
        "--rescaler",
        "light-x2",
        "--effort",
        "fast",
        "--precision",
        "float32",
        "--runtime",
        "torch",
        "--measure",
    )
    result = run(photos, out, *options)
    assert result.exit_code == 0, result.output
    assert "9 done, 0 kept, 0 failed" in result.stdout
    assert (out / "below" / "5.x2.png").is_file()
    check_whole(out)
    pair = load("light-x2")
    for row in rows_of(out).values():
        lr, origin = read_lr(row["output"])
        original = read(row["input"])
        restored = decode_photo(lr, pair, origin)
        assert compare(restored.colour, original.colour, 2, original.alpha)["psnr_y"] == pytest.approx(
            row["psnr_y"], abs=1e-3
        )
        # A score leaves out the photo's border, of which these small ones have much; the method does not.
        assert row["psnr_y"] >= row["psnr_y_before"] - 0.1
        assert (row["height"], row["width"]) == original.size
        assert row["output_bytes"] == Path(row["output"]).stat().st_size
        assert (row["rescaler"], row["weights_hash"], row["passes"]) == ("light-x2", pair.weights_hash, 2)
        assert row["arguments"]["effort"] == "fast"
        assert row["error"] is None


def test_only_what_is_missing_or_changed_is_done_again(
    tmp_path: Path, photos: Path, crop: torch.Tensor, engines: list[Here], run: Run
) -> None:
    out = tmp_path / "out"
    assert "6 done, 0 kept" in run(photos, out, *PLAIN).stdout
    before = rows_of(out)
    assert "0 done, 6 kept" in run(photos, out, *PLAIN).stdout
    assert len(engines) == 1  # none was needed
    os.utime(photos / "0.png", (1, 1))  # touched, and what it was
    write(photos / "1.png", Photo(crop[..., :24, :24]))
    (out / "2.x2.png").unlink()
    (out / "3.x2.png").write_bytes(b"cut short")
    write(photos / "new.png", Photo(crop[..., :24, :24]))
    assert "4 done, 3 kept" in run(photos, out, *PLAIN).stdout
    names = [Path(source).name for source in engines[-1].given]
    assert names == ["0.png", "1.png", "2.png", "3.png", "new.png"]
    rows = rows_of(out)
    assert rows["0.png"] == before["0.png"] | {"input_stamp": rows["0.png"]["input_stamp"]}
    assert rows["1.png"]["input_hash"] != before["1.png"]["input_hash"]
    assert "0 done, 7 kept" in run(photos, out, *PLAIN).stdout
    check_whole(out)


def test_other_settings_are_other_results(tmp_path: Path, photos: Path, engines: list[Here], run: Run) -> None:
    out = tmp_path / "out"
    hcd = ("--rescaler", "bicubic-x2", "--method", "hcd", "--hr-steps", 1, "--lr-steps", 1)
    assert "6 done" in run(photos, out, *PLAIN).stdout
    assert "6 done" in run(photos, out, *hcd).stdout
    assert "0 done, 6 kept" in run(photos, out, *hcd).stdout
    assert "6 done" in run(photos, out, *hcd, "--seed", 1).stdout
    assert "6 done" in run(photos, out, *PLAIN[2:], "--rescaler", "light-x2").stdout
    assert {row["rescaler"] for row in rows_of(out).values()} == {"light-x2"}


def test_a_bad_photo_is_listed_and_stops_nobody(
    tmp_path: Path, photos: Path, engines: list[Here], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "1.png").write_text("no image")
    (photos / "2.png").write_bytes((photos / "0.png").read_bytes()[:-40])
    out = tmp_path / "out"
    result = run(photos, out, *PLAIN)
    assert result.exit_code == 1
    assert "4 done, 0 kept, 2 failed" in result.stdout
    assert result.stderr.splitlines()[-1] == "coscale: 2 of 6 failed"
    rows = rows_of(out)
    assert {row["psnr_y"] for row in rows.values()} == {None}  # nothing is measured that nobody asked for
    assert (rows["1.png"]["tries"], rows["2.png"]["tries"]) == (1, 1)  # trying again would not help
    assert "1.png is not a JPEG" in rows["1.png"]["error"]
    shutil.copy(photos / "0.png", photos / "1.png")
    lines = run(photos, out, *PLAIN, "--json").stdout.splitlines()
    assert json.loads(lines[-1]) == {"done": 1, "kept": 4, "failed": 1, "manifest": str(out / "manifest.jsonl")}
    assert {Path(json.loads(line)["input"]).name for line in lines[:-1]} == {"1.png", "2.png"}


def test_what_may_pass_is_tried_again(
    tmp_path: Path, photos: Path, engines: list[Here], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: Counter[str] = Counter()

    def unsteady(path: Path, limit: int | None, strict: bool) -> Photo:
        attempts[path.name] += 1
        if path.name == "1.png" or (path.name == "2.png" and attempts["2.png"] == 1):
            raise OSError(5, "Input/output error")
        return read(path, limit, strict)

    monkeypatch.setattr("coscale.batch.worker.read", unsteady)
    out = tmp_path / "out"
    result = run(photos, out, *PLAIN, "--retries", 2)
    assert "5 done, 0 kept, 1 failed" in result.stdout
    assert f"{photos / '1.png'}: Input/output error" in result.stderr
    tries = {name: row["tries"] for name, row in rows_of(out).items()}
    assert tries == {"0.png": 1, "1.png": 3, "2.png": 2, "3.png": 1, "4.png": 1, "5.png": 1}


# Where photos are


def test_a_list_of_photos(tmp_path: Path, photos: Path, engines: list[Here], run: Run) -> None:
    elsewhere = tmp_path / "elsewhere" / "far.png"
    elsewhere.parent.mkdir()
    shutil.copy(photos / "0.png", elsewhere)
    lines = ["# mine", "0.png", "", "./0.png", "below/4.png", "gone.png", "below", str(elsewhere)]
    lines += ["strange://host/x.png", f"file://{photos}/1.png"]
    (photos / "list.txt").write_text("\n".join(lines))
    out = tmp_path / "out"
    result = run(photos / "list.txt", out, *PLAIN)
    assert result.exit_code == 1
    assert "4 done, 0 kept, 3 failed" in result.stdout
    assert len(list(out.rglob("*.x2.png"))) == 4
    assert (out / "0.x2.png").is_file()
    assert (out / "below" / "4.x2.png").is_file()
    assert (out / str(elsewhere)[1:]).with_name("far.x2.png").is_file()
    errors = {row["error"] for row in rows_of(out).values()} - {None}
    assert sorted(error.split("/")[-1] for error in errors) == [
        "below is a folder; give an image file",
        "gone.png does not exist; check the path",
        "x.png cannot be reached: Protocol not known: strange",
    ]
    assert "0 done, 4 kept, 3 failed" in run(photos / "list.txt", out, *PLAIN).stdout


def test_names_are_those_of_downscale(
    tmp_path: Path, photos: Path, crop: torch.Tensor, engines: list[Here], run: Run
) -> None:
    write(photos / "0.jpg", Photo(crop))
    (photos / "link.png").symlink_to(photos / "1.png")
    (photos / "broken.png").symlink_to(photos / "nothing")
    out = photos / "out"  # whose files are no photos of the collection
    for _ in range(2):
        run(photos, out, *PLAIN)
        names = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
        assert names == [
            *("0.jpg.x2.png", "0.png.x2.png", "1.x2.png", "2.x2.png", "3.x2.png"),
            *("below/4.x2.png", "below/5.x2.png", "link.x2.png"),
        ]
    shutil.copy(photos / "0.png", photos / "0.png.jpg")
    with pytest.raises(SettingsError, match="would both become"):
        run(photos, out, *PLAIN)


class Store(LocalFileSystem):
    """A store that is not this machine's folders for all that coscale knows, with room for ``room`` bytes a file."""

    protocol = "teststore"
    room = 10**6

    def put_file(self, path1: str, path2: str, callback: object = None, **options: object) -> None:
        data = Path(path1).read_bytes()
        Path(path2).write_bytes(data[: self.room])
        if len(data) > self.room:
            raise OSError(28, "No space left on device")

    def get_file(self, path1: str, path2: str, callback: object = None, outfile: object = None, **_: object) -> None:
        shutil.copyfile(path1, path2)


def test_photos_in_an_archive_and_results_in_a_store(
    tmp_path: Path, photos: Path, engines: list[Here], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("teststore", Store, clobber=True)
    archive, out, manifest = tmp_path / "photos.zip", tmp_path / "out", tmp_path / "rows.jsonl"
    (photos / "1.png").write_text("no image")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(photos.rglob("*.png")):
            file.write(path, path.relative_to(photos))
    arguments = (f"zip://::{archive}", f"teststore://{out}", *PLAIN, "--manifest", manifest)
    monkeypatch.setattr(Store, "room", 10)
    result = run(*arguments)
    assert "0 done, 0 kept, 6 failed" in result.stdout
    assert "No space left on device" in result.stderr
    assert f"zip://1.png::{archive} is not a JPEG" in result.stderr
    assert [path for path in out.rglob("*") if path.is_file()] == []
    monkeypatch.setattr(Store, "room", 10**6)
    assert "5 done, 0 kept, 1 failed" in run(*arguments).stdout
    with Manifest(manifest) as rows:
        (out / "below" / temporary_name(".png", rows.mark)).write_text("of a run that was killed")
    assert "0 done, 5 kept, 1 failed" in run(*arguments).stdout
    check_whole(out)
    assert len(list(out.rglob("*.png"))) == 5
    with pytest.raises(SettingsError, match="give --manifest FILE"):
        run(*arguments[:-2])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("{tmp}/nothing", "{tmp}/out"), "nothing does not exist; check the path"),
        (("{tmp}/empty", "{tmp}/out"), "there are no images in"),
        (("strange://x", "{tmp}/out"), "strange://x cannot be reached: Protocol not known: strange"),
        (("{tmp}/photos", "strange://x"), "strange://x cannot be reached: Protocol not known: strange"),
        (("s3://bucket/photos", "{tmp}/out"), "s3://bucket/photos cannot be reached: Install s3fs"),
        (("zip://::{tmp}/none.zip", "{tmp}/out"), "does not exist; check the path"),
        (("{tmp}/photos", "{tmp}/photos"), "OUT is the input folder itself"),
        (("{tmp}/photos", "{tmp}/out", "--manifest", "{tmp}/rows.csv"), "must end in .jsonl or .parquet"),
        (("{tmp}/photos", "{tmp}/file"), "is a file, not a folder"),
        (("{tmp}/photos", "{tmp}/out", "--weights", "{tmp}/w.pth", "--rescaler", "light-x2"), "w.pth does not exist"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, photos: Path, engines: list[Here], run: Run, arguments: Sequence[str], error: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("a file")
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    with pytest.raises(CoscaleError, match=error) as caught:
        run(*given, *(() if "--weights" in given else PLAIN))
    assert "\n" not in str(caught.value)
    assert not list((tmp_path).glob("out/*"))


def test_names_of_an_archive_stay_below_out(tmp_path: Path, photos: Path, engines: list[Here], run: Run) -> None:
    archive, out = tmp_path / "photos.zip", tmp_path / "deep" / "out"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("../../evil.png", "/abs/evil.png", "a/../../evil2.png", "good.png"):
            file.writestr(name, (photos / "0.png").read_bytes())
    run(f"zip://::{archive}", out, *PLAIN)
    for row in rows_of(out).values():
        assert ".." not in row["output"]
        assert Path(row["output"]).is_relative_to(out)
    assert set(tmp_path.rglob("*.x2.png")) == set(out.rglob("*.x2.png"))
    assert {out / "good.x2.png", out / "evil.x2.png"} <= set(out.rglob("*.x2.png"))


class HostStore(Store):
    """A store that is reached by a host, a user and a password."""

    protocol = "hoststore"

    def __init__(self, host: str, username: str, password: str, **options: Any) -> None:
        super().__init__(**options)
        assert (host, username, password) == ("there", "me", "s3cret")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + infer_storage_options(path)["path"].strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        found = infer_storage_options(path)
        return {key: found[key] for key in ("host", "username", "password")}


def test_a_store_is_reached_as_the_user_says_and_no_password_is_kept(
    tmp_path: Path, photos: Path, engines: list[Here], run: Run
) -> None:
    fsspec.register_implementation("hoststore", HostStore, clobber=True)
    (photos / "1.png").write_text("no image")
    (photos / "list.txt").write_text("0.png\nbelow/4.png\ngone.png")
    manifest, out = tmp_path / "rows.jsonl", tmp_path / "out"
    url = "hoststore://me:s3cret@there"
    arguments = (f"{url}{photos}/", f"{url}{out}/", *PLAIN, "--manifest", manifest)
    for counts in ("5 done, 0 kept", "0 done, 5 kept"):
        result = run(*arguments)
        assert f"{counts}, 1 failed" in result.stdout
        assert "s3cret" not in result.output + manifest.read_text()
    assert f"hoststore://me@there{photos}/1.png is not a JPEG" in result.stderr
    check_whole(out)
    assert len(list(out.rglob("*.png"))) == 5
    result = run(f"{url}{photos}/list.txt", f"{url}{tmp_path}/out2", *arguments[2:-1], tmp_path / "2.jsonl", "--json")
    assert json.loads(result.stdout.splitlines()[-1])["done"] == 2
    assert "s3cret" not in result.output
    with pytest.raises(DataError) as caught:
        run(f"{url}{tmp_path}/nothing", *arguments[1:])
    assert "s3cret" not in str(caught.value)


def test_photos_may_lie_below_out(tmp_path: Path, photos: Path, engines: list[Here], run: Run) -> None:
    for counts in ("6 done, 0 kept", "0 done, 6 kept"):
        assert counts in run(photos, tmp_path, *PLAIN).stdout
    assert (tmp_path / "below" / "4.x2.png").is_file()


def test_no_result_replaces_a_photo(tmp_path: Path, photos: Path, engines: list[Here], run: Run) -> None:
    (photos / "photos").mkdir()
    for copy in ("photos/0.png", "0.x2.png"):
        shutil.copy(photos / "1.png", photos / copy)
    (photos / "0.png").unlink()
    with pytest.raises(SettingsError, match="would replace the photo"):
        run(photos, tmp_path, *PLAIN)


def test_names_that_a_disk_may_take_for_one_are_refused(tmp_path: Path) -> None:
    fs, place = LocalFileSystem(), str(tmp_path)
    for first, second in (("sea.png", "SEA.png"), ("caf\u00e9.png", "cafe\u0301.png")):
        entries = [CollectedPhoto(f"/in/{name}", name) for name in (first, second)]
        with pytest.raises(SettingsError, match="would both become"):
            targets(entries, Results(place, fs, place, {}, []), 2)
        assert len(targets(entries, Results("teststore:///o", Store(), "/o", {}, []), 2)) == 2


def test_a_folder_that_cannot_be_listed_stops_nobody(
    tmp_path: Path, photos: Path, engines: list[Here], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = LocalFileSystem.ls
    out = tmp_path / "out"
    (out / "lost+found").mkdir(parents=True)

    def ls(self: LocalFileSystem, path: str, detail: bool = False, **options: Any) -> Any:
        if Path(path).name in ("below", "lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return listed(self, path, detail, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "ls", ls)
        result = run(photos, out, *PLAIN)
    assert "4 done, 0 kept, 1 failed" in result.stdout
    assert f"{photos / 'below'} cannot be listed: Permission denied" in result.stderr
    assert "2 done, 4 kept, 0 failed" in run(photos, out, *PLAIN).stdout


def test_what_a_store_tells_of_a_version() -> None:
    assert store.stamp_of({"size": 3, "modify": "20200101"}) == "3 20200101"
    assert store.stamp_of({"size": 3, "last_write_time": 7}) == "3 7"
    assert store.stamp_of({"size": 3, "colour": 7}) == ""
    known = {"input": "/in/a", "input_stamp": "", "input_hash": "abc", "output_bytes": 9}
    row = row_for("/out/a", **known, rescaler="x", weights_hash="", method="none")
    task = driver.BatchTask(CollectedPhoto("/in/a", "a", 3, ""), "/out/a", row)
    results = Results("/out", LocalFileSystem(), "/out", {"/out/a": 9}, [])
    found = task.assignment(Provenance("x", "", "none", {}), results)
    assert found == Assignment("/in/a", "/out/a", done="abc")


def test_a_result_is_whole_where_to_move_is_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("teststore", Store, clobber=True)
    target = tmp_path / "a.png"

    def publish(data: bytes) -> None:
        with store.publishing(f"teststore://{target}") as path:
            path.write_bytes(data)

    def refused(self: Store, path1: str, path2: str) -> None:
        if Path(path2).exists():
            raise OSError(17, "File exists")
        Path(path1).rename(path2)

    monkeypatch.setattr(Store, "mv", refused)
    for data in (b"first", b"second"):
        publish(data)
        assert target.read_bytes() == data
    monkeypatch.setattr(Store, "mv", lambda self, path1, path2: Path(path2).write_bytes(b"half"))
    with pytest.raises(TransferError, match="4 of 5 bytes arrived"):
        publish(b"third")
    assert not target.exists()


# The manifest


def test_what_is_known_of_a_result_outlives_a_failure(
    tmp_path: Path, photos: Path, engines: list[Here], run: Run
) -> None:
    out, away = tmp_path / "out", tmp_path / "away.png"
    (photos / "list.txt").write_text("0.png\n1.png")
    arguments = (photos / "list.txt", out, *PLAIN)
    assert "2 done" in run(*arguments).stdout
    before = rows_of(out)
    (photos / "0.png").rename(away)
    for _ in range(2):
        assert "0 done, 1 kept, 1 failed" in run(*arguments).stdout
    row = rows_of(out)["0.png"]
    assert "does not exist" in row["error"]
    assert row | {"error": None} == before["0.png"]
    away.rename(photos / "0.png")
    assert "0 done, 2 kept, 0 failed" in run(*arguments).stdout  # which read it, and did not do it again
    assert rows_of(out) == before
    assert len(engines) == 2


def test_a_run_removes_what_is_its_own(tmp_path: Path, photos: Path, engines: list[Here], run: Run) -> None:
    out = tmp_path / "out"
    marks = []
    for path in (out / "manifest.jsonl", tmp_path / "other.jsonl"):
        with Manifest(path) as manifest:
            marks.append(manifest.mark)
    assert marks[0] != marks[1]
    ours = [out / temporary_name(suffix, marks[0]) for suffix in (".png", ".jsonl")]
    theirs = [out / temporary_name(".png", marks[1]), out / temporary_name(".png"), out / ".mine.part.png"]
    for path in ours + theirs:
        path.write_text("half a file")
    run(photos, out, *PLAIN)
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in theirs)
    ours[0].write_text("half a file")
    with pytest.raises(DataError, match=r"is of .*, not of"):  # nothing is touched by a run that is refused
        run(shutil.copytree(photos, tmp_path / "photos2"), out, *PLAIN)
    assert ours[0].exists()


def test_what_may_pass() -> None:
    gone = "/out/" + temporary_name(".png", "mark-")
    for error, passing in (
        (MemoryNeededError("too large"), True),
        (TransferError("no answer"), True),
        (FileNotFoundError(2, "No such file or directory", gone), True),
        (FileNotFoundError(2, "No such file or directory", "photo.png"), False),
    ):
        assert _may_pass(error, "mark-") == passing


def test_a_manifest_that_is_replaced_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "rows.jsonl"
    locked = fcntl.flock

    def late(file: Any, kind: int) -> None:
        if not path.read_text():
            new = tmp_path / "new"
            new.write_text(json.dumps(row_for("a", input="b").to_json()) + "\n")
            new.replace(path)
        locked(file, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    with Manifest(path) as manifest:
        assert list(manifest.rows) == ["a"]


def test_a_parquet_manifest_is_read_when_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without("parquet")
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "rows.parquet"
    locked = fcntl.flock

    def late(file: Any, kind: int) -> None:
        if not path.exists():
            _write_parquet(path, [row_for("a")], "")
        locked(file, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    with Manifest(path) as manifest:
        assert list(manifest.rows) == ["a"]


@pytest.mark.parametrize("name", ["rows.jsonl", pytest.param("rows.parquet", marks=needs("parquet"))])
def test_the_journal_is_closed_before_it_goes(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows, which has no such locks, asks for."""
    skip_without("parquet")
    monkeypatch.setattr("coscale.batch.manifest.fcntl", None)
    manifest = Manifest(tmp_path / name)
    closed: list[bool] = []

    def spied(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Path, *arguments: Any, **options: Any) -> Any:
            if manifest.journal in (self, *arguments):
                closed.append(manifest._file.closed)
            return method(self, *arguments, **options)

        return call

    monkeypatch.setattr(Path, "replace", spied(Path.replace))
    monkeypatch.setattr(Path, "unlink", spied(Path.unlink))
    with manifest:
        for _ in range(2):
            manifest.add(row_for("a"))
    assert closed == [True]
    with contextlib.suppress(KeyboardInterrupt):
        manifest = Manifest(tmp_path / "new.jsonl")
        with manifest:
            raise KeyboardInterrupt
    assert closed == [True, True]


def test_a_parquet_manifest(
    tmp_path: Path, photos: Path, engines: list[Here], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without("parquet")
    from pyarrow import parquet

    (photos / "1.png").write_text("no image")
    out, path = tmp_path / "out", tmp_path / "rows.parquet"
    hcd = ("--rescaler", "bicubic-x2", "--method", "hcd", "--hr-steps", 1, "--lr-steps", 1, "--manifest", path)
    assert "5 done, 0 kept, 1 failed" in run(photos, out, *hcd).stdout
    rows = parquet.read_table(path).to_pylist()
    assert [Path(row["input"]).name for row in rows] == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png"]
    assert json.loads(rows[0]["arguments"])["hr_steps"] == 1
    assert "0 done, 5 kept, 1 failed" in run(photos, out, *hcd).stdout
    assert not list(tmp_path.glob("*.part*"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="is no manifest of coscale batch"):
        run(photos, out, *hcd)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SettingsError, match=r"pip install 'coscale\[parquet\]'"):
        run(photos, out, *hcd)


def row_for(output: str, **more: Any) -> ManifestRow:
    return ManifestRow(output=output, arguments={}, **more)


@pytest.mark.parametrize("name", ["rows.jsonl", pytest.param("rows.parquet", marks=needs("parquet"))])
def test_a_stop_loses_no_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with contextlib.suppress(KeyboardInterrupt), Manifest(path) as manifest:
        manifest.add(row_for("b"))
        manifest.add(row_for("a"))
        with pytest.raises(DataError, match="another run has"):
            Manifest(path)
        raise KeyboardInterrupt
    with manifest.journal.open("a") as file:
        file.write('{"input": "cut sho')
    with Manifest(path) as manifest:
        assert list(manifest.rows) == ["b", "a"]
        manifest.add(row_for("b", width=3))
    assert list(tmp_path.iterdir()) == [path]
    with Manifest(path) as manifest:
        assert [(key, row.width) for key, row in manifest.rows.items()] == [("a", None), ("b", 3)]


def test_a_manifest_of_something_else_is_refused(tmp_path: Path, photos: Path, engines: list[Here], run: Run) -> None:
    out, path = tmp_path / "out", tmp_path / "rows.jsonl"
    for text in ('{"set": "Set5"}\n', "a note", "[1]\n", "\x89PNG", '{"set": "Set5"}'):
        path.write_text(text)
        with pytest.raises(DataError, match="is no manifest of coscale batch"):
            run(photos, out, *PLAIN, "--manifest", path)
        assert path.read_text() == text
    path.unlink()
    run(photos, out, *PLAIN, "--manifest", path)
    with pytest.raises(DataError, match="the manifest is that of another run"):
        run(photos, tmp_path / "other", *PLAIN, "--manifest", path)
    with pytest.raises(DataError, match=r"is of .*, not of .*; give another OUT"):
        run(shutil.copytree(photos, tmp_path / "photos2"), out, *PLAIN, "--manifest", path)
    assert len(path.read_text().splitlines()) == 6


# Workers and what kills them


class Script:
    """An engine whose workers do as they are told: a message for each job, in turn."""

    def __init__(self, slots: int, starts: list[Message], answers: dict[str, list[Message]]) -> None:
        self.slots = slots
        self.starts = starts
        self.answers = answers
        self.coming: list[tuple[int, Message]] = []
        self.most = 0
        self.stopped = False

    def start(self, slot: int) -> None:
        self.coming.append((slot, self.starts.pop(0) if self.starts else Ready()))

    def give(self, slot: int, job: Assignment) -> None:
        answers = self.answers.get(job.source)
        self.coming.append((slot, answers.pop(0) if answers else Done(None)))
        self.most = max(self.most, len(self.coming))

    def wait(self) -> list[tuple[int, Message]]:
        return [self.coming.pop(0)]

    def stop(self) -> None:
        self.stopped = True


def outcomes(engine: Script, names: str, retries: int) -> dict[str, tuple[bool, int]]:
    found: dict[str, tuple[bool, int]] = {}

    def finished(key: str, outcome: Done | Failed, tries: int) -> None:
        assert key not in found
        found[key] = isinstance(outcome, Done), tries

    driver.drive(engine, {name: Assignment(name, f"/nowhere/{name}") for name in names}, retries, finished)
    return found


def test_as_many_photos_are_in_flight_as_there_are_workers() -> None:
    engine = Script(3, [], {})
    assert outcomes(engine, "abcdefghijklmnop", 1) == dict.fromkeys("abcdefghijklmnop", (True, 1))
    assert engine.most == 3
    assert engine.stopped


def test_tries_are_counted() -> None:
    lost, failed, never = Lost("died"), Failed("busy", passing=True), Failed("no image", passing=False)
    engine = Script(2, [], {"a": [lost], "b": [lost, lost], "c": [failed], "d": [failed, lost], "e": [never]})
    found = outcomes(engine, "abcdef", 1)
    assert found == {"a": (True, 2), "b": (False, 2), "c": (True, 2), "d": (False, 2), "e": (False, 1), "f": (True, 1)}


def test_workers_that_never_begin_end_the_run() -> None:
    engine = Script(1, [Lost("died")] * 3, {})
    with pytest.raises(EngineError, match="workers end as they start: died"):
        outcomes(engine, "ab", 1)
    assert engine.stopped
    assert len(outcomes(Script(1, [Lost("died")] * 2, {}), "ab", 1)) == 2


class Mortal(Script):
    """The worker that has done ``a`` dies before ``b``, which another one does, fails."""

    def give(self, slot: int, job: Assignment) -> None:
        super().give(slot, job)
        self.gave = [*getattr(self, "gave", []), (slot, job.source)]
        if self.gave[1:] == [(1, "b")]:
            self.coming.insert(1, (0, Lost("died")))


def test_a_worker_that_dies_idle_gets_no_more_photos() -> None:
    engine = Mortal(2, [], {"b": [Failed("busy", passing=True)]})
    assert outcomes(engine, "ab", 1) == {"a": (True, 1), "b": (True, 2)}
    assert engine.gave == [(0, "a"), (1, "b"), (1, "b")]


class Deadly(Local):
    """Kills the worker that gets the third job, and the one that gets the photo ``victim`` every time."""

    victim = "none"
    count = 0

    def give(self, slot: int, job: Assignment) -> None:
        super().give(slot, job)
        self.count += 1
        if self.count == 3 or Path(job.source).name == self.victim:
            os.kill(self._workers[slot].pid or 0, signal.SIGKILL)


def test_a_killed_worker_is_replaced_and_its_photo_done(
    tmp_path: Path, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: list[Deadly] = []

    def deadly(settings: BatchSettings, weights_hash: str, _: Crew) -> Deadly:
        engine.append(Deadly(settings, weights_hash, 2, ["cpu"]))
        return engine[-1]

    monkeypatch.setattr(runner, "_engine", deadly)
    monkeypatch.setattr(Deadly, "victim", "4.png")
    out = tmp_path / "out"
    result = run(photos, out, "--rescaler", "light-x2", "--effort", "fast")
    assert "5 done, 0 kept, 1 failed" in result.stdout
    assert f"{photos / 'below' / '4.png'}: its worker was killed by SIGKILL" in result.stderr
    assert Counter(row["tries"] for row in rows_of(out).values()) == {1: 4, 2: 2}
    assert not engine[0]._workers
    check_whole(out)
    assert len(list(out.rglob("*.png"))) == 5


class Silent:
    """A worker that says nothing."""

    def __init__(self) -> None:
        self.connection, self.theirs = multiprocessing.Pipe()
        self.ended = False

    def end(self) -> None:
        self.ended = True


def test_a_photo_that_takes_too_long_ends_its_worker() -> None:
    engine = Local(BatchSettings("light-x2"), "", 1, ["cpu"], timeout=0.05)
    worker: Any = Silent()
    engine._workers[0] = worker
    engine.give(0, Assignment("a", "b"))
    assert engine.wait() == [(0, Lost("was ended, since it took longer than 0.05 seconds"))]
    assert (worker.theirs.recv(), worker.ended, engine._workers) == (Assignment("a", "b"), True, {})


def test_a_worker_that_cannot_work_says_why(photos: Path, tmp_path: Path) -> None:
    job = {"a": Assignment(str(photos / "0.png"), str(tmp_path / "a.x2.png"))}
    with pytest.raises(EngineError, match="a worker has other weights of light-x2"):
        driver.drive(Local(BatchSettings("light-x2"), "another hash", 1, ["cpu"]), job, 1, lambda *_: None)
    reason = failure_of(Local(BatchSettings("bicubic-x2"), "", 1, ["cpu"]), photos / "0.png")
    assert "0.png: its worker failed with AttributeError" in reason


def failure_of(engine: driver.Engine, photo: Path) -> str:
    """What becomes of a job that lacks something, which is an error in the code."""
    outcomes: list[Any] = []
    job: Any = SimpleNamespace(source=str(photo), target="nowhere", mark="")
    driver.drive(engine, {"a": job}, 0, lambda _, outcome, tries: outcomes.append(outcome))
    return outcomes[0].reason


def test_gpus_are_shared(monkeypatch: pytest.MonkeyPatch, handlers: None) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    engine = runner._engine(BatchSettings("light-x2"), "", Crew(gpus_per_worker=0.5, timeout=9.0))
    assert isinstance(engine, Local)
    assert engine._limits.lost.reason.endswith("longer than 9 seconds")
    assert (engine.slots, list(engine._devices)) == (4, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"])


def test_a_killed_driver_and_then_all_photos(tmp_path: Path, crop: torch.Tensor, engines: list[Here], run: Run) -> None:
    folder, out = many(tmp_path / "photos", crop, 60), tmp_path / "out"
    arguments = (folder, out, *PLAIN)
    first = start_held(tmp_path / "held.py", "030", *arguments, "--workers", 1)
    await_rows(first, out / "manifest.jsonl", 10)
    workers = children(first.pid)
    assert workers
    first.kill()
    first.communicate()
    kept = len(rows_of(out)) if (out / "manifest.jsonl").read_text().endswith("\n") else None
    assert kept is None or 10 <= kept < 60
    until(lambda: all(map(is_gone, workers)))  # nobody works on for a driver that is gone
    whole = {path: path.stat().st_mtime_ns for path in out.glob("*.x2.png")}
    for path in whole:
        assert read_lr(path)[1]
    second = run(*arguments, "--json")
    assert second.exit_code == 0, second.output
    counts = json.loads(second.stdout.splitlines()[-1])
    assert counts["done"] + counts["kept"] == 60
    assert counts["kept"] >= 10
    assert sum(path.stat().st_mtime_ns == written for path, written in whole.items()) >= counts["kept"]
    check_whole(out)
    assert run(*arguments).stdout.startswith("0 done, 60 kept, 0 failed")
    assert len(engines) == 1  # the last run needed no worker
    assert len(rows_of(out)) == 60


def test_ctrl_c_stops_at_once_and_keeps_what_is_finished(tmp_path: Path, crop: torch.Tensor) -> None:
    folder, out = many(tmp_path / "photos", crop, 40, 32), tmp_path / "out"
    options = ("--rescaler", "light-x2", "--effort", "best", "--workers", 1)
    process = start_held(tmp_path / "held.py", "005", folder, out, *options)
    await_rows(process, out / "manifest.jsonl", 2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.strip().splitlines() == [
        "coscale: interrupted; what was finished is kept, and nothing half-written is left"
    ]
    check_whole(out)
    assert 2 <= len(rows_of(out)) < 40
    with Manifest(out / "manifest.jsonl") as manifest:
        assert all(Path(output).is_file() for output in manifest.rows)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk can be mounted by root alone")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_loses_nothing(
    tmp_path: Path, small_disk: Path, crop: torch.Tensor, engines: list[Here], run: Run
) -> None:
    fill_and_grow(many(tmp_path / "photos", crop, 30), small_disk, run)


def fill_and_grow(folder: Path, small_disk: Path, run: Run, *options: object) -> None:
    """A run that the disk has no room for, and another one when it has."""
    out = small_disk / "out"
    with pytest.raises(OutputError, match=r"manifest.jsonl has no room for \d+ rows"):
        run(folder, out, *PLAIN, *options)
    noted = rows_of(out)
    done = [row for row in noted.values() if not row["error"]]
    assert 0 < len(done) < 30
    assert all(Path(row["output"]).stat().st_size == row["output_bytes"] for row in done)
    check_whole(out)
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    output = run(folder, out, *PLAIN, *options, "--json").stdout
    counts = json.loads(output.splitlines()[-1])
    assert (counts["done"], counts["kept"], counts["failed"]) == (30 - len(done), len(done), 0)
    check_whole(out)
    assert len(rows_of(out)) == 30


@pytest.mark.parametrize(
    "wrong", [{"engine": "none"}, {"workers": 0}, {"gpus_per_worker": 2}, {"retries": -1}, {"timeout": 0}]
)
def test_a_crew_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Crew(**wrong)


def test_a_collection_from_python(photos: Path, tmp_path: Path, engines: list[Here]) -> None:
    told: list[str] = []
    settings = BatchSettings("bicubic-x2")
    for done in (True, False):
        totals = batch_run(
            photos, tmp_path / "out", settings, tell=lambda one, _: told.append(str(one and one.row.input))
        )
        assert (totals.failed, bool(totals.done), bool(totals.kept)) == (0, done, not done)
    assert told.count("None") == 2
    assert len(set(told)) == len(rows_of(tmp_path / "out")) + 1
