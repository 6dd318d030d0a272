"""The tables of tensors in a checkpoint: training frameworks wrap a network's in others, by names and by prefixes."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coscale.errors import RescalerError
from coscale.weights.reading import ROOM, SHARES, Foreign, in_bytes, read

# What a network is wrapped in, beside other things; averaged ones first. Each may be a table or begin a name.
WRAPPERS = (
    *("params_ema", "params-ema", "state_dict_ema", "model_ema", "ema_model", "generator_ema", "net_g_ema", "ema"),
    *("params", "state_dict", "model_state_dict", "generator", "generator_state_dict", "net_g", "netG", "G"),
    *("model", "module", "_orig_mod", "network", "net"),
)
MOST_TENSORS = 20_000  # of a network: the largest known have three thousand
_DEEPEST = 6  # wrappers in wrappers

Tensors = dict[str, Tensor]


def tables_of(path: Path) -> dict[str, Tensors]:
    """Give the tables of the checkpoint at ``path``, as ``tables_in`` gives them.

    Raises RescalerError as that and ``reading.read`` do.
    """
    return tables_in(read(path), path)


def tables_in(content: Any, path: Path) -> dict[str, Tensors]:
    """Give all tables that may be a network's, by the prefix that was taken off: the whole first, then what is wrapped,
    each before the next beside it.

    Raises RescalerError when ``content``, which was read from ``path``, has no tensor.
    """
    whole = _flat(content)
    if not whole:
        raise RescalerError(f"{path} {_without_tensors(content)}; save the network's state_dict")
    return dict(_unwrapped("", whole))


def _unwrapped(prefix: str, table: Tensors) -> Iterator[tuple[str, Tensors]]:
    yield prefix, table
    if prefix.count(".") == _DEEPEST:
        return
    below: dict[str, Tensors] = {}
    for name, value in table.items():
        first, _, rest = name.partition(".")
        if rest:
            below.setdefault(first, {})[rest] = value
    shared = [first for first in below if len(below[first]) == len(table) and first not in WRAPPERS]
    for first in (*(name for name in WRAPPERS if name in below), *shared):
        yield from _unwrapped(f"{prefix}{first}.", below[first])


def nearest_table(tables: dict[str, Tensors], wanted: Collection[str] = ()) -> Tensors:
    """Give the first table with most of the names ``wanted``; of equal ones, one without any known wrappers."""
    known = [prefix for prefix in tables if set(prefix.split(".")[:-1]) <= set(WRAPPERS)]

    def rank(prefix: str) -> tuple[int, bool]:
        bare = prefix in known and not any(other != prefix and other.startswith(prefix) for other in known)
        return sum(name in tables[prefix] for name in wanted), bare

    return tables[max(tables, key=rank)]


def check_sizes(tensors: Tensors, path: Path) -> None:
    """Raise RescalerError when more would be made of a network's tensors, by their names or sizes, than they are."""
    if len(tensors) > MOST_TENSORS:
        raise RescalerError(f"{path} is of a network of more than {MOST_TENSORS} tensors; give a smaller one")
    most = 4 * len(tensors) + 64  # layers without tensors are counted in names too
    for name, value in tensors.items():
        if value.is_meta or value.layout != torch.strided:
            raise RescalerError(f"{path} cannot be used: its {name[:80]} is no ordinary table of numbers")
        if any(len(number) > 9 or int(number) > most for number in re.findall(r"(?:^|\.)(\d+)(?=\.|$)", name)):
            raise RescalerError(f"{path} has {name[:80]}, but {len(tensors)} tensors in all; give a whole checkpoint")
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in tensors.values()}
    declared, held = sum(value.nbytes for value in tensors.values()), sum(storages.values())
    if declared > SHARES * held + ROOM:
        raise RescalerError(f"{path} declares tensors of {in_bytes(declared)}, but has {in_bytes(held)}; save it anew")


def object_in(content: Any) -> str | None:
    """Name the class of the object, a network saved whole for one, that is there instead of tensors; else None."""
    return None if _flat(content) else _foreign(content)


def _flat(content: Any) -> Tensors:
    """The tensors in tables, and in tables of those, by their names joined with dots; each table once."""
    found: Tensors = {}
    seen: set[int] = set()
    waiting = [("", content)]
    for prefix, table in waiting:  # grows as it goes
        if not isinstance(table, dict) or id(table) in seen or prefix.count(".") > _DEEPEST:
            continue
        seen.add(id(table))
        for name, value in table.items():
            if isinstance(name, str) and isinstance(value, Tensor):
                found[prefix + name] = value
            elif name == "pro" and "unet2.conv_bottom.weight" in table:  # an entry of any kind marks such a Real-CUGAN
                found[prefix + name] = torch.zeros(1)
            elif isinstance(name, str):
                waiting.append((f"{prefix}{name}.", value))
    return found


def _foreign(content: Any) -> str | None:
    values = [content, *(content.values() if isinstance(content, dict) else ())]
    kinds = (value if isinstance(value, type) else type(value) for value in values)
    return next((kind.origin for kind in kinds if issubclass(kind, Foreign)), None)


def _without_tensors(content: Any) -> str:
    if origin := _foreign(content):
        return f"holds a Python object, {origin}, which would run code, and no table of tensors"
    kind = "an empty table" if content == {} else "no table of tensors"
    return f"holds {kind}"


def check_fit(network: nn.Module, tensors: Tensors, path: Path) -> None:
    """Raise RescalerError, naming the first difference, unless ``tensors`` are finite values for all of ``network``."""
    wanted = network.state_dict()
    for name, value in wanted.items():
        if name not in tensors:
            raise RescalerError(f"{path} is of another network: it has no {name}")
        given = tensors[name]
        if given.layout != torch.strided or given.is_meta or not given.is_floating_point():
            raise RescalerError(f"{path} cannot be used: its {name} is no ordinary table of numbers")
        if given.shape != value.shape:
            shapes = f"{tuple(given.shape)}, not {tuple(value.shape)}"
            raise RescalerError(f"{path} is of another network: its {name} is {shapes}")
        if not given.isfinite().all():
            raise RescalerError(f"{path} cannot be used: its {name} has values that are not finite")
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise RescalerError(f"{path} is of another network: it also has {extra[0]}{more}")
