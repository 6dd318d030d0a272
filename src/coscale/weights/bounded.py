"""Files may ask for any amount of memory in a few bytes; here the size of each result is found before it is made."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only


class Bounded(TorchDispatchMode):
    """Raises ValueError, which says ``problem``, before the results of PyTorch's operations are too large or too many.

    ``total``: bytes of all results; ``each``: of one; ``results``: how many there may be.
    """

    def __init__(
        self, problem: str, *, total: float = math.inf, each: float = math.inf, results: float = math.inf
    ) -> None:
        super().__init__()
        self.problem = problem
        self.total, self.each, self.results = total, each, results

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(result.alias_info for result in func._schema.returns):  # a view, or written into what is there
            return func(*args, **kwargs)
        size = self._size(func, args, kwargs)
        self.results -= 1
        self.total -= size
        if self.results < 0 or self.total < 0 or size > self.each:
            raise ValueError(self.problem)
        return func(*args, **kwargs)

    @staticmethod
    def _size(func: Any, args: Any, kwargs: Any) -> int:
        """The bytes of what comes out; 0 where the meta device cannot tell, since that depends on the values."""
        args, kwargs = tree_map_only(Tensor, lambda x: x.to("meta"), (args, kwargs))
        if "device" in kwargs or not any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
            kwargs = kwargs | {"device": torch.device("meta")}
        try:
            out = func(*args, **kwargs)
        except (NotImplementedError, RuntimeError, TypeError):
            return 0
        return sum(leaf.nbytes for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
