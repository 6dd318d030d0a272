"""Checkpoints read as data: their tensors, and nothing in them is run or taken at its word.

torch's own reader makes what a file declares before it looks whether the file has it: a few bytes can ask for any
amount of memory, and a tensor can claim more than its storage holds. Here each size is held against the bytes of the
file first, and objects that are no data are never made.

    file --its first bytes--> safetensors | zip: a pickle and its storages | pickle, then storages | a program: refused
"""

import io
import math
import os
import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from coscale.errors import RescalerError, ran_out_of_memory, reason
from coscale.files import check_regular

Program = Literal["TorchScript", "torch.export", "torch.package"]

MOST_TENSORS = 100_000  # of a file: a training state of the largest networks has about ten thousand
_TOO_MANY = f"holds more than {MOST_TENSORS} tensors, as no network does; save the state_dict alone"
ROOM = 2**20  # bytes that tensors may have beyond
SHARES = 4  # times the bytes of their file, since tensors may share a storage
_MAGIC = 0x1950A86A20F9469CFC6C  # begins what torch wrote before version 1.6
_STORAGES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "Untyped": torch.uint8,
}
_ONNX_FIELDS = b"\x12\x1a\x22\x28\x32\x3a\x42\x72"
_STRANGERS = (  # what people have given instead, by its first bytes
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself; fetch that with: git lfs pull"),
    (b"<", "is a page of the web, not a checkpoint; download the file itself"),
    (b"\x89HDF", "is an HDF5 file, as of Keras; give one of PyTorch"),
    (b"GGUF", "is a GGUF file; give one of PyTorch"),
)


class _FileError(Exception):
    """What is wrong with a file, as a sentence whose subject is the file."""


class Foreign:
    """Stands for an object of a pickle that is no data. What would have made it is never called."""

    origin = "an object"

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> "Foreign":
        return self


def program_in(path: Path) -> Program | None:
    """Give the kind of program that a file is, by what is in it and not by its name; None for anything else."""
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            return _program(archive)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # reading it says what is wrong
        return None


def holds_onnx(path: Path) -> bool:
    """Say whether a file is an ONNX file, by what is in it and not by its name."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            return _begins_onnx(file.read(3))
    except OSError:  # reading it says what is wrong
        return False


def _begins_onnx(head: bytes) -> bool:
    """A model begins with its version, the first field, and goes on with a second one."""
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 0x40 and head[2] in _ONNX_FIELDS


def _program(archive: zipfile.ZipFile) -> Program | None:
    names = {name.partition("/")[2] or name for name in archive.namelist()}
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return "torch.export"
    if ".data/extern_modules" in names:
        return "torch.package"
    script = {"constants.pkl", "model.json"} & names or any(name.startswith("code/") for name in names)
    return "TorchScript" if script else None


def read(path: Path) -> Any:
    """Give what a file of torch.save or of safetensors holds, with ``Foreign`` in the place of what is no data.

    Raises RescalerError, saying which, when there is no such file, it is another kind of file, a program, damaged, or
    declares more than it holds.
    """
    if not path.exists():
        raise RescalerError(f"{path} does not exist; check the path")
    if path.is_dir():
        raise RescalerError(f"{path} is a folder; give a file in it")
    try:
        check_regular(path)
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):  # one line is enough
            return _read(file, path)
    except _FileError as wrong:
        raise RescalerError(f"{path} {wrong}") from wrong
    except OSError as error:
        raise RescalerError(f"{path} cannot be read: {error.strerror or error}; check the file") from error
    except Exception as error:  # what is damaged fails in many ways
        if ran_out_of_memory(error):
            raise RescalerError(f"{path} takes more memory than there is; give a smaller network") from error
        told = isinstance(error, zipfile.BadZipFile | SafetensorError)  # others speak of what this module does
        detail = f" ({reason(error)})" if told else ""
        raise RescalerError(f"{path} is damaged or cut short{detail}; get it anew") from error


def _read(file: BinaryIO, path: Path) -> Any:
    size = os.fstat(file.fileno()).st_size
    head = file.read(512)
    file.seek(0)
    if not head:
        raise _FileError("is empty; get it anew")
    if head.startswith(b"PK"):
        with zipfile.ZipFile(file) as archive:
            return _read_zip(archive, size)
    if head[8:9] == b"{" and head[4:8] == bytes(4):
        return _read_safetensors(path)
    if head.startswith(b"\x80"):
        return _read_legacy(file, size)
    if _begins_onnx(head):
        raise _FileError(
            "is an ONNX file, which only --upscaler takes; give that, or the checkpoint that it was made from"
        )
    if head[257:262] == b"ustar":
        raise _FileError("is a tar archive, as the first versions of torch wrote; load and save it with torch 1")
    if path.suffix.lower() == ".onnx":
        raise _FileError("is no ONNX file, for all its name; get it anew")
    problem = next((said for begin, said in _STRANGERS if head.lstrip().startswith(begin)), None)
    kinds = "torch.export, TorchScript, torch.save, safetensors or ONNX"
    raise _FileError(problem or f"is no checkpoint and no program: it is no file of {kinds}; give another")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The library itself holds all sizes against the file's."""
    with safe_open(path, "pt") as file:
        names = file.keys()
        if len(names) > MOST_TENSORS:
            raise _FileError(_TOO_MANY)
        return {name: file.get_tensor(name) for name in names}


def _read_zip(archive: zipfile.ZipFile, size: int) -> Any:
    if program := _program(archive):
        raise _FileError(f"is a program of {program}, not a checkpoint; give one, or the program as --upscaler")
    entries = archive.infolist()
    pickles = [entry for entry in entries if entry.filename.partition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise _FileError("is a zip archive, but none that torch.save wrote; give a checkpoint, unpacked")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
        raise _FileError("is compressed or encrypted, which torch.save never does; save it anew")
    if sum(entry.file_size for entry in entries) > size:
        raise _FileError(f"declares more than its {in_bytes(size)}; get it anew")
    folder = pickles[0].filename.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive.namelist() and archive.read(order).decode() != sys.byteorder:
        raise _FileError(f"was made on a machine of another byte order; save it on one that is {sys.byteorder}-endian")
    storages: dict[str, torch.UntypedStorage] = {}

    def storage(dtype: Any, key: Any, _: Any, count: Any) -> "_Storage":
        if key not in storages:
            entry = archive.getinfo(f"{folder}data/{key}")
            with archive.open(entry) as record:
                storages[key] = _filled(record, entry.file_size)
        return _Storage.of(dtype, storages[key], 0, count)

    return _Unpickler(io.BytesIO(archive.read(pickles[0])), storage, _Room(size)).load()


def _read_legacy(file: BinaryIO, size: int) -> Any:
    """A pickle first, which names storages, and those after it: it is read twice, the first time for their sizes."""
    whole, room, sizes = _Clamped(file, size), _Room(size), dict[str, int]()

    def declared(dtype: Any, key: Any, _: Any, count: Any, view: Any = None) -> "_Storage":
        item = dtype.itemsize if isinstance(dtype, torch.dtype) else 1
        sizes[key] = item
        return _Storage(dtype, None)

    def load(storage: Callable[..., "_Storage"]) -> Any:
        return _Unpickler(whole, storage, _Room(size) if storage is declared else room).load()

    if load(declared) != _MAGIC:
        raise _FileError("is a pickle of others than torch.save, which would run code; save the network's state_dict")
    load(declared)  # the protocol
    load(declared)  # facts about the machine
    begin = file.tell()
    load(declared)
    keys = load(declared)
    storages: dict[str, torch.UntypedStorage] = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        length = count * sizes[key]
        if not 0 <= length <= size - file.tell():
            raise _FileError("is cut short; get it anew")
        storages[key] = _filled(file, length)
    file.seek(begin)

    def storage(dtype: Any, key: Any, _: Any, count: Any, view: Any = None) -> "_Storage":
        first, count = (0, count) if view is None else view[1:]
        return _Storage.of(dtype, storages[key], first, count)

    return load(storage)


class _Clamped:
    """A file that reserves no more for a read than is left of it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        return self._file.read(max(0, min(count, self._size - self._file.tell())))


class _Room:
    """How many tensors may still be made, and of how many bytes in all, for a file of ``size``."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.tensors, self.bytes = MOST_TENSORS, SHARES * size + ROOM

    def take(self, count: int) -> None:
        self.tensors -= 1
        self.bytes -= count
        if self.tensors < 0:
            raise _FileError(_TOO_MANY)
        if self.bytes < 0:
            raise _FileError(
                f"declares tensors of {in_bytes(SHARES * self.size + ROOM - self.bytes)} or more, "
                f"but has {in_bytes(self.size)}; save the state_dict anew, with tensors that are contiguous"
            )


@dataclass(frozen=True)
class _Storage:
    """Bytes, and as what tensors see them; no bytes where these are not known yet."""

    dtype: Any
    data: torch.UntypedStorage | None

    @staticmethod
    def of(dtype: Any, data: torch.UntypedStorage, first: Any, count: Any) -> "_Storage":
        """Give ``count`` values from the ``first`` on, which must be there."""
        item = dtype.itemsize if isinstance(dtype, torch.dtype) else 1
        if not _counts((first, count)) or (first + count) * item > data.nbytes():
            raise _FileError("declares more values than it holds; get it anew")
        return _Storage(dtype, data if first == 0 else data[first * item : (first + count) * item])


def _filled(source: Any, length: int) -> torch.UntypedStorage:
    data = bytearray(length)
    if source.readinto(data) != length:
        raise _FileError("is cut short; get it anew")
    return torch.frombuffer(data, dtype=torch.uint8).untyped_storage() if length else torch.UntypedStorage(0)


def _counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and 0 <= value < 2**62 for value in values)


class _Table(dict[Any, Any]):
    """Stands for OrderedDict, whose first argument may be its items."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__()
        _put(self, items)


def _put(table: Any, items: Iterable[Any]) -> None:
    for key, value in items:
        if isinstance(key, str | int):  # a tuple may be too deep to be hashed, which no limit of Python's would end
            table[key] = value


class _Unpickler(pickle._Unpickler):  # the one in Python, since that in C reserves whatever is declared
    """Reads what torch.save pickled: data, tensors over ``storage``, which is called with what a pickle says of one,
    and ``Foreign`` for everything else."""

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: Any, storage: Callable[..., _Storage], room: _Room) -> None:
        super().__init__(file, encoding="latin1")  # of texts that Python 2 wrote, which may be any bytes
        self._storage, self._room = storage, room

    def find_class(self, module: str, name: str) -> Any:
        """Give what a pickle may use: no name leads to a function of Python or of torch."""
        made: dict[str, Any] = {
            "collections.OrderedDict": _Table,
            "torch.Size": tuple,
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_tensor_v3": self._typed_tensor,
            "torch._utils._rebuild_parameter": _first,
            "torch._utils._rebuild_parameter_with_state": _first,
        }
        full = f"{module}.{name}"
        if full in made:
            return made[full]
        if full.startswith("torch._utils._rebuild"):
            return _no_table
        if module in ("torch", "torch.cuda", "torch.storage") and name.removesuffix("Storage") in _STORAGES:
            return _STORAGES[name.removesuffix("Storage")]
        if module == "torch" and isinstance(vars(torch).get(name), torch.dtype):
            return vars(torch)[name]
        return type("Foreign", (Foreign,), {"origin": full})

    def persistent_load(self, pid: Any) -> Any:
        """Give a storage; or the class of a network, which old files name with its source code beside it."""
        kind, *rest = pid
        return rest[0] if kind == "module" else self._storage(*rest)

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any, dtype: Any = None) -> Tensor:
        size, stride, dtype = tuple(size), tuple(stride), dtype or storage.dtype
        if not _counts((offset, *size, *stride)) or len(size) != len(stride):
            raise _FileError("has a tensor of no size; get it anew")
        count = math.prod(size)
        self._room.take(count * dtype.itemsize)
        if count == 0 or storage.data is None:
            return torch.empty(0 if count else size, dtype=dtype)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if (last + 1) * dtype.itemsize > storage.data.nbytes():
            raise _FileError("has a tensor of more values than it holds; get it anew")
        return torch.empty(0, dtype=dtype).set_(storage.data, offset, size, stride)

    def _typed_tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
    ) -> Tensor:
        return self._tensor(storage, offset, size, stride, dtype=dtype)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put([(key, value)])

    def _set_items(self) -> None:
        items = self.pop_mark()
        self._put(zip(items[::2], items[1::2], strict=True))

    def _put(self, items: Iterable[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            _put(self.stack[-1], items)

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _set(self) -> None:
        self.append(Foreign())

    def _frozen_set(self) -> None:
        self.pop_mark()
        self.append(Foreign())

    def _add_items(self) -> None:
        self.pop_mark()

    def _build(self) -> None:
        self.stack.pop()  # what would become the state of an object

    # Those that pickle writes since protocol 2. Only lists and tables get items; all else stays as it was made.
    dispatch: ClassVar[dict[int, Any]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]]
        for code in (
            *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK, pickle.MEMOIZE),
            *(pickle.BINGET, pickle.LONG_BINGET, pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINPERSID),
            *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2),
            *(pickle.LONG1, pickle.LONG4, pickle.BINFLOAT, pickle.BINSTRING, pickle.SHORT_BINSTRING),
            *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8),
            *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8),
            *(pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.TUPLE),
            *(pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
            *(pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        )
    } | {
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.EMPTY_SET[0]: _set,
        pickle.FROZENSET[0]: _frozen_set,
        pickle.ADDITEMS[0]: _add_items,
        pickle.BUILD[0]: _build,
    }


def _first(value: Any, *_: Any) -> Any:
    """What a parameter is of."""
    return value


def _no_table(*_: Any) -> Tensor:
    """Stands for a tensor that is no table of numbers in the file: sparse, quantised, on no device."""
    return torch.empty(0, device="meta")


def in_bytes(count: int) -> str:
    unit = min(max(0, len(str(count)) - 1) // 3, 4)
    return f"{count / 1000**unit:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[unit]}"
