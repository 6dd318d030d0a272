"""A network that is data: operators of ONNX and their constants, run one after the other, with gradients.

No code is made from a file: a node's operator is looked up by its name, and what is not in the table is not run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from coscale.errors import NetworkError, ran_out_of_memory, reason
from coscale.rescalers.operators import OPERATORS, Attributes, UnsupportedError


@dataclass(frozen=True)
class Node:
    """One operator: its name, the names of what it takes ("" for what is left out) and gives, and its attributes."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes

    def run(self, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give the results by their names, from what is known. Raises NetworkError where it fails."""
        given = [known[name] if name else None for name in self.inputs]
        device = next((x.device for x in given if x is not None and x.device.type != "cpu"), None)
        if device:  # shapes and indices are kept where Python reads them
            given = [None if x is None else x.to(device) for x in given]
        try:
            out = OPERATORS[self.operator](given, self.attributes)
        except UnsupportedError as error:
            raise NetworkError(f"its {self.operator} has {error}, which is not known here") from error
        except Exception as error:  # wrong shapes fail in as many ways as there are operators
            if ran_out_of_memory(error):
                raise
            raise NetworkError(f"its {self.operator} fails: {reason(error)}") from error
        results = out if isinstance(out, tuple) else (out,)
        return {name: result for name, result in zip(self.outputs, results, strict=False) if name}


class Graph(nn.Module):
    """From the image called ``entry`` to the one called ``exit``, by ``nodes`` in order and ``constants``.

    Only what the result needs is run. What depends on no image is computed here, once. Raises NetworkError when a node
    needs what nothing gives, or fails.
    """

    def __init__(self, nodes: Sequence[Node], constants: Mapping[str, Tensor], entry: str, exit: str) -> None:  # noqa: A002
        super().__init__()
        self.entry, self.exit = entry, exit
        known, left = dict(constants), []
        for node in needed(nodes, exit):
            if all(name in known for name in node.inputs if name):
                known |= node.run(known)
            else:
                left.append(node)
        self.nodes = tuple(left)
        given = {entry, *(name for node in left for name in node.outputs)}
        used = [name for node in left for name in node.inputs if name]
        absent = next((name for name in (*used, exit) if name not in given and name not in known), None)
        if absent is not None:
            raise NetworkError(f"nothing in it gives {absent[:80]!r}, which it needs")
        kept = {name: known[name] for name in dict.fromkeys((*used, exit)) if name in known}
        self.named = tuple(name for name, value in kept.items() if value.is_floating_point())
        self.values = nn.ParameterList(nn.Parameter(kept[name], requires_grad=False) for name in self.named)
        self.shapes = {name: value for name, value in kept.items() if not value.is_floating_point()}
        last = {name: index for index, node in enumerate(left) for name in node.inputs}
        self.over: list[list[str]] = [[] for _ in left]  # what no later node needs, so that it takes no memory
        for name, index in last.items():
            if name in given and name != exit:
                self.over[index].append(name)

    def forward(self, image: Tensor) -> Tensor:
        """Give what the graph makes of an image, as both are in the file. Raises NetworkError where it fails."""
        known: dict[str, Tensor] = dict(zip(self.named, self.values, strict=True)) | self.shapes | {self.entry: image}
        for node, over in zip(self.nodes, self.over, strict=True):
            known |= node.run(known)
            for name in over:
                del known[name]
        return known[self.exit]


def needed(nodes: Sequence[Node], exit: str) -> list[Node]:  # noqa: A002
    """Give the nodes that a result needs, in order."""
    wanted, found = {exit}, []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            wanted |= set(node.inputs)
            found.append(node)
    return found[::-1]
