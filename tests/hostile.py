"""Files that ask for more than they hold, and small checkpoints with bytes changed: what becomes of each.

Run as a program, with a folder to write them to: it prints a JSON object for each, with the memory that it took.
"""

import copy
import io
import json
import pickle
import random
import resource
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch._utils import _rebuild_tensor_v2

from coscale.rescalers.edsr import EDSR
from coscale.rescalers.rdn import RDN
from coscale.rescalers.rfanet import RFANet
from coscale.weights.upscaler import load_upscaler
from tests.extras import absence

MUTATIONS = 15  # of each kind of checkpoint
SPANDREL = not absence("sr")


def edsr() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: value.contiguous() for name, value in EDSR(2, 2, 8, 0.1).state_dict().items()}


def rdn() -> dict[str, Tensor]:
    return RDN(2, 8, 4, 3, 2).state_dict()


def rfanet() -> dict[str, Tensor]:
    return RFANet(2, 8, 2, 3).state_dict()


def compact() -> dict[str, Tensor]:
    from spandrel.architectures.Compact import Compact

    return Compact(num_feat=8, num_conv=2, upscale=2).state_dict()


def swinir() -> dict[str, Tensor]:
    from spandrel.architectures.SwinIR import SwinIR

    network = SwinIR(embed_dim=12, depths=[1], num_heads=[2], window_size=8, upscale=2, upsampler="pixelshuffle")
    return network.state_dict()


class Claim:
    """What a pickle can say of a tensor of four numbers: that it has more."""

    def __init__(self, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.size, self.stride = size, stride

    def __reduce__(self) -> tuple[Any, ...]:
        few = torch.zeros(4).storage()
        return _rebuild_tensor_v2, (few, 0, self.size, self.stride, False, OrderedDict())


def one(*size: int) -> Tensor:
    """One number, seen as many."""
    return torch.zeros(1).expand(*size)


WINDOW = "layers.0.residual_group.blocks.0.attn.relative_position_index"
# Contents that torch.save writes as they are.
HUGE: dict[str, Callable[[], Any]] = {
    "stride 0": lambda: edsr() | {"head.0.weight": one(10**5, 3, 3, 3)},
    "324 GB": lambda: edsr() | {"head.0.weight": one(3 * 10**9, 3, 3, 3)},
    "wider than its storage": lambda: edsr() | {"head.0.weight": Claim((3 * 10**9, 3, 3, 3), (27, 9, 3, 1))},
    "one step beyond its storage": lambda: edsr() | {"head.0.bias": Claim((5,), (1,))},
    "beyond all numbers": lambda: edsr() | {"head.0.weight": Claim((2**40, 2**40), (2**40, 1))},
    "no values, but wide": lambda: edsr() | {"head.0.weight": torch.zeros(4 * 10**9, 0, 3, 3)},
    "a width without depth": lambda: edsr() | {"head.0.weight": torch.zeros(100_000, 1, 1, 1)},
    "one storage, many names": lambda: (
        edsr() | dict.fromkeys((f"body.{i}.bias" for i in range(5000)), torch.ones(10**6))
    ),
    "200,000 blocks": lambda: edsr() | dict.fromkeys((f"body.{i}.body.0.weight" for i in range(200_000)), one(1)),
    "layers by a shape": lambda: rdn() | {"rdbs.0.lff.weight": one(1, 200_000)},
    "blocks by a shape": lambda: rdn() | {"gff.0.weight": one(1, 200_000)},
    "residuals by a shape": lambda: rfanet() | {"body.0.fuse.weight": one(1, 200_000)},
    "spandrel: blocks by a name": lambda: compact() | {"body.4000000000.weight": torch.zeros(1)},
    "spandrel: fewer blocks by a name": lambda: compact() | {"body.90000.weight": torch.zeros(1)},
    "spandrel: width": lambda: compact() | {"body.0.weight": torch.zeros(200_000, 1, 1, 1)},
    "spandrel: scale": lambda: compact() | {"body.6.weight": torch.zeros(3 * 250**2, 8, 1, 1)},
    "spandrel: window": lambda: swinir() | {WINDOW: one(250_000, 1)},
    "spandrel: width of attention": lambda: swinir() | {"conv_first.weight": torch.zeros(240_000, 1, 1, 1)},
    "deep": lambda: {"params": nested(200)},
    "tables of tables": lambda: {"params": doubled(60)},
}


def nested(depth: int) -> Any:
    table: Any = {"a": torch.zeros(1)}
    for _ in range(depth):
        table = {"a": table}
    return table


def doubled(depth: int) -> Any:
    """A table that has 2**depth others when all are visited."""
    table: Any = {"c": 1}
    for _ in range(depth):
        table = {"a": table, "b": table}
    return table


def packed(content: Any, change: Callable[[str, bytes], bytes] = lambda _, data: data, compression: int = 0) -> bytes:
    """The file that torch.save writes, of which each entry went through ``change``."""
    buffer, changed = io.BytesIO(), io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(changed, "w", compression) as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    return changed.getvalue()


def pickled(data: bytes) -> bytes:
    """A file of torch.save with another pickle."""
    return packed({"a": torch.zeros(4)}, lambda name, old: data if name.endswith("data.pkl") else old)


def overlapping() -> bytes:
    """A zip in which a thousand names are of the same bytes."""
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as target:
        target.writestr("a/data.pkl", pickle.dumps({}, 2))
        target.writestr("a/data/0", bytes(10**6))
        for number in range(1, 1000):
            again = copy.copy(target.filelist[-1])
            again.filename = f"a/data/{number}"
            target.filelist.append(again)
    return changed.getvalue()


def legacy(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def deep_key() -> bytes:
    """A table whose key is a tuple of a tuple of a tuple, which hash would follow beyond the stack."""
    return b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"K\x01s."


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def of_storage(count: int) -> bytes:
    """A tensor over a storage that is said to have ``count`` values, as the tensor is."""
    with zipfile.ZipFile(io.BytesIO(packed({"a": torch.zeros(4)}))) as archive:
        data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    return pickled(replaced(data, b"K\x04", b"\x8a\x06" + count.to_bytes(6, "little")))


def safetensors_header(header: dict[str, Any], length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


# Files as their bytes.
RAW: dict[str, Callable[[], bytes]] = {
    "compressed zeros": lambda: packed({"a": torch.zeros(20_000_000)}, compression=zipfile.ZIP_DEFLATED),
    "compressed pickle": lambda: packed({"a": "a" * 10**7}, compression=zipfile.ZIP_DEFLATED),
    "a storage of more": lambda: of_storage(10**11),
    "a storage of a little more": lambda: of_storage(5),
    "entries of the same bytes": overlapping,
    "an old storage of more": lambda: replaced(legacy({"a": torch.zeros(4)}), b"K\x04", b"J\xff\xff\xff\x7f"),
    "an old file, cut": lambda: legacy(edsr())[:-5000],
    "a large array of bytes": lambda: pickled(b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R."),
    "a far memo": lambda: pickled(b"\x80\x02K\x01r\xff\xff\xff\x7f."),
    "a long text": lambda: pickled(b"\x80\x04\x8d" + (10**12).to_bytes(8, "little") + b"a."),
    "a long frame": lambda: pickled(b"\x80\x04\x95" + (10**12).to_bytes(8, "little") + b"a."),
    "a deep key": lambda: pickled(deep_key()),
    "a long header of safetensors": lambda: safetensors_header({"a": {}}, 10**15),
    "a safetensors tensor of more": lambda: safetensors_header(
        {"a": {"dtype": "F32", "shape": [10**10], "data_offsets": [0, 4 * 10**10]}}
    ),
    "a call of a method": lambda: pickled(b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00false\x85R."),
}


def mutated(data: bytes, seed: int) -> bytes:
    """``data`` with some bytes changed, removed or doubled."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 30))):
        place = chance.randrange(len(changed))
        match chance.randrange(4):
            case 0:
                changed[place] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
            case 1:
                del changed[place : place + chance.choice((1, 4, 500))]
            case 2:
                changed[place:place] = changed[place : place + chance.choice((1, 8, 64))]
            case 3:
                changed[place : place + 8] = chance.choice((bytes(8), b"\xff" * 8, b"\x00\x00\x00\x7f\x00\x00\x00\x7f"))
    return bytes(changed) or b"\0"


def mutations() -> dict[str, bytes]:
    """Of files, and of pickles in files that are sound but for them."""
    found = {}
    kinds = {"zip": packed(edsr()), "legacy": legacy(rdn()), "safetensors": save(edsr())}
    pickles = {"EDSR": edsr()}
    if SPANDREL:
        kinds["spandrel"] = packed(compact())
        pickles["SwinIR"] = swinir()
    for kind, data in kinds.items():
        for seed in range(MUTATIONS):
            found[f"mutated {kind} {seed}"] = mutated(data, seed)
    for kind, tensors in pickles.items():
        for seed in range(MUTATIONS):

            def change(name: str, data: bytes, seed: int = seed) -> bytes:
                return mutated(data, seed) if name.endswith("data.pkl") else data

            found[f"mutated pickle of {kind} {seed}"] = packed(tensors, change)
    return found


def main(folder: Path) -> None:
    files = {}
    for number, (case, content) in enumerate(HUGE.items()):
        if SPANDREL or not case.startswith("spandrel"):
            files[case] = folder / f"huge{number}.pth"
            torch.save(content(), files[case])
    for number, (case, data) in enumerate(({case: make() for case, make in RAW.items()} | mutations()).items()):
        files[case] = folder / f"raw{number}.pth"
        files[case].write_bytes(data)
    theirs = [packed(compact()), packed(swinir())] if SPANDREL else []
    for content in (packed(edsr()), *theirs, save(edsr()), legacy(rdn())):
        (folder / "sound").write_bytes(content)  # what is imported takes memory once
        load_upscaler(folder / "sound")
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2 * 10**9, resource.RLIM_INFINITY))  # also what is only reserved
    for case, path in files.items():
        attempt(case, path)


def attempt(case: str, path: Path) -> None:
    """Load a file, and print what came of it and the most memory that it took."""
    Path("/proc/self/clear_refs").write_text("5")  # begins the peak anew
    before = peak()
    error, said = "", ""
    try:
        load_upscaler(path)
    except Exception as problem:  # what it is, the test asks
        error, said = type(problem).__name__, str(problem)
    row = {"case": case, "bytes": path.stat().st_size, "error": error, "said": said, "took": peak() - before}
    print(json.dumps(row), flush=True)


def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
