"""The manifest: a row a photo, kept in a journal that only grows, so that a kill loses no row that was written."""

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any, Self, get_args, get_origin, get_type_hints

from coscale.errors import DataError, OutputError, SettingsError
from coscale.files import check_writable, is_temporary, replacing
from coscale.measurement import Setting

try:
    import fcntl
except ImportError:  # a system that has no such locks; two runs at a time are not noticed there
    fcntl = None


@dataclass(frozen=True)
class Provenance:
    """What a result depends on besides its photo: the rescaler with its weights, the method and its settings."""

    rescaler: str
    weights_hash: str
    method: str
    arguments: Mapping[str, Setting]


@dataclass(frozen=True, kw_only=True)
class LRFacts:
    """What is known of an LR file; scores are None where they are infinite or were not taken."""

    output_bytes: int
    psnr_y_before: float | None = None
    psnr_rgb_before: float | None = None
    psnr_y: float | None = None
    psnr_rgb: float | None = None
    lr_psnr_g: float | None = None
    corrected: float | None
    bicubic: float | None
    passes: int


@dataclass(frozen=True, kw_only=True)
class Facts(LRFacts):
    """What a worker knows of a photo that it has done."""

    input_hash: str
    width: int
    height: int
    device: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """A photo and its result, as the manifest has it; what is not known is None, as it is for one that failed.

    - ``input``, ``input_hash``, ``input_bytes``, ``input_stamp``: the photo, SHA-256 and size of its file, and what its
      store says instead of reading it again.
    - ``output``, ``output_bytes``: the LR file.
    - ``tries``, ``error``: how often it was tried, and why it failed.
    - the rest: see ``Provenance`` and ``Facts``.
    """

    input: str | None = None
    input_hash: str | None = None
    input_bytes: int | None = None
    input_stamp: str | None = None
    output: str
    output_bytes: int | None = None
    rescaler: str | None = None
    weights_hash: str | None = None
    method: str | None = None
    arguments: dict[str, Setting] | None = None
    width: int | None = None
    height: int | None = None
    psnr_y_before: float | None = None
    psnr_rgb_before: float | None = None
    psnr_y: float | None = None
    psnr_rgb: float | None = None
    lr_psnr_g: float | None = None
    corrected: float | None = None
    bicubic: float | None = None
    passes: int | None = None
    device: str | None = None
    seconds: float | None = None
    tries: int | None = None
    coscale: str | None = None
    error: str | None = None

    @property
    def has_result(self) -> bool:
        """Say whether there was a result."""
        return self.input_hash is not None and self.output_bytes is not None

    @property
    def provenance(self) -> Provenance | None:
        """Give what the result was made with; None where that is not known."""
        if self.rescaler is None or self.weights_hash is None or self.method is None or self.arguments is None:
            return None
        return Provenance(self.rescaler, self.weights_hash, self.method, self.arguments)

    def to_json(self) -> dict[str, Any]:
        """Give the row as JSON."""
        return vars(self).copy()

    @classmethod
    def from_json(cls, row: object) -> Self:
        """Give the row that JSON has. Raises DataError with a field that is missing, or of another type."""
        if not isinstance(row, dict):
            raise DataError("it is no object")
        for name, kind in FIELDS.items():
            if name not in row:
                raise DataError(f"it has no {name}")
            value = row[name]
            if value is None and name != "output":
                continue
            right = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
            too_large = type(value) is int and abs(value) >= 2**63  # for Parquet, and for anything that is true
            if not right or too_large:
                raise DataError(f"{name} is {json.dumps(value)[:40]}, which is no {_TYPES[kind]}")
        return cls(**{name: row[name] for name in FIELDS})


def _kind(hint: Any) -> type:
    """The type of a field, without None."""
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    return get_origin(kinds[0]) or kinds[0]


FIELDS = {name: _kind(hint) for name, hint in get_type_hints(ManifestRow).items()}
_TYPES = {str: "text", int: "whole number", float: "number", dict: "object"}
_START = b'{"input": '  # of each line
PARQUET = ".parquet"
SUFFIXES = (".jsonl", PARQUET)


class Manifest:
    """The rows of the file ``path``, the newest for each output, open for more; one run at a time.

    A .jsonl file is its own journal. A .parquet file is written when the run ends, from a journal beside it, which is
    then removed. ``mark`` begins the names of this manifest's temporary files and of those of its results: as only one
    run has it at a time, others of that mark are what an earlier run left behind. Raises SettingsError for another
    suffix and without pyarrow, DataError for what is no manifest and when another run has it open, OutputError when it
    cannot be written.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in SUFFIXES:
            raise SettingsError(f"--manifest {path.name} must end in {' or '.join(SUFFIXES)}")
        self.path = path
        self.parquet = path.suffix == PARQUET
        self.journal = path.with_name(path.name + ".part.jsonl") if self.parquet else path
        self.mark = hashlib.sha256(f"{platform.node()} {os.path.realpath(path)}".encode()).hexdigest()[:8] + "-"
        self.rows: dict[str, ManifestRow] = {}
        check_writable(path)
        check_writable(self.journal)
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()
        self._size = 0
        try:
            if self.parquet:
                self._keep(_read_parquet(path))
            lines, self._size = self._read()
            self._lines = self._keep(lines)
            self._file.truncate(self._size)
        except BaseException:
            with self._file:
                if self.parquet and not os.fstat(self._file.fileno()).st_size:
                    self._remove_journal()
            raise
        self._unwritten: list[bytes] = []
        for left in Path(os.path.realpath(path)).parent.iterdir():
            if is_temporary(left.name, path.suffix, self.mark):
                with contextlib.suppress(OSError):
                    left.unlink()

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._finish()
            elif not self._size:
                self._remove_journal()

    def add(self, row: ManifestRow) -> None:
        """Keep a row. One that the disk has no room for is written with a later one, or as the run ends."""
        self.rows[row.output] = row
        self._lines += 1
        self._unwritten.append(json.dumps(row.to_json()).encode() + b"\n")
        self._write()

    def _keep(self, rows: Iterable[object]) -> int:
        count = 0
        for found in rows:
            count += 1
            try:
                row = ManifestRow.from_json(found)
            except DataError as problem:
                place = f"{'row' if self.parquet else 'line'} {count}"
                raise _no_manifest(self.path, f"{place}: {problem}") from problem
            self.rows[row.output] = row
        return count

    def _open(self) -> FileIO:
        """The journal, locked: the new one where another run replaces it after it is opened and before it is locked."""
        while True:
            file = FileIO(self.journal, "a+")
            try:
                self._lock(file)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file.fileno()), self.journal.stat()):
                        return file
            except BaseException:
                file.close()
                raise
            file.close()

    def _lock(self, file: FileIO) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"another run has {self.path} open; wait for it, or give another --manifest") from error
        except OSError:
            pass  # the folder is on a filesystem that has no such locks either

    def _let_go(self) -> None:
        """Close the journal where a file that is open can be neither removed nor replaced; there it holds no lock."""
        if fcntl is None:
            self._file.close()

    def _remove_journal(self) -> None:
        self._let_go()
        self.journal.unlink()

    def _read(self) -> tuple[list[object], int]:
        """The rows of the journal, and where they end: a last line may have been cut short."""
        self._file.seek(0)
        data = self._file.read()
        end = data.rfind(b"\n") + 1
        cut = data[end:]
        rows = []
        for number, line in enumerate(data[:end].split(b"\n")[:-1], 1):
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise _no_manifest(self.path, f"line {number} is no JSON") from error
        if cut[: len(_START)] != _START[: len(cut)]:
            raise _no_manifest(self.path, f"line {len(rows) + 1} is none of its rows")
        return rows, end

    def _write(self) -> OSError | None:
        """Write what is not written yet, whole lines or nothing."""
        lines = b"".join(self._unwritten)
        done = 0
        try:
            while done < len(lines):
                done += self._file.write(lines[done:])
        except OSError as error:
            self._file.truncate(self._size)
            return error
        self._size += len(lines)
        self._unwritten = []
        return None

    def _finish(self) -> None:
        """Leave one row a photo, sorted by output."""
        if error := self._write() if self._unwritten else None:
            raise OutputError(
                f"{self.journal} has no room for {len(self._unwritten)} rows ({error.strerror}), whose photos will be "
                "done again; free some space"
            ) from error
        rows = [self.rows[key] for key in sorted(self.rows)]
        if self.parquet:
            if self._lines or not self.path.exists():
                _write_parquet(self.path, rows, self.mark)
            self._remove_journal()
        elif self._lines > len(rows):
            with replacing(self.path, self.mark) as temporary:
                with temporary.open("w") as file:
                    file.writelines(json.dumps(row.to_json()) + "\n" for row in rows)
                self._let_go()


def check_extra(path: Path) -> None:
    """Raise SettingsError when the manifest would need what is not installed."""
    if path.suffix == PARQUET:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise SettingsError(
                "a Parquet manifest needs: pip install 'coscale[parquet]'; or name it .jsonl"
            ) from error


def _no_manifest(path: Path, problem: str) -> DataError:
    return DataError(f"{path} is no manifest of coscale batch ({problem}); give another --manifest")


def _read_parquet(path: Path) -> list[object]:
    import pyarrow
    import pyarrow.parquet

    if not path.exists():
        return []
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
        return [row | {"arguments": json.loads(row["arguments"])} for row in rows]
    except (pyarrow.ArrowException, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise _no_manifest(path, "it cannot be read") from error


def _write_parquet(path: Path, rows: list[ManifestRow], mark: str) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), dict: pyarrow.string()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in FIELDS.items()])
    table = pyarrow.Table.from_pylist(
        [{name: _cell(value) for name, value in row.to_json().items()} for row in rows], schema
    )
    with replacing(path, mark) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value)
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value  # names may be no text
