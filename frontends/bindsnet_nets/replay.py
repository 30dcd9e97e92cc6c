"""Random numbers of BindsNET's layers: given to it, or written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a network is run)
from torch.overrides import TorchFunctionMode  # noqa: TID253

from snnir.errors import error
from snnir.frontends.bindsnet_nets.values import Array


class Draws(TorchFunctionMode):
    """While this is active, layers take the numbers they are given, or theirs are written down.

    torch.multinomial of one sample is the argmax of s / q, where q is exponentially distributed
    and drawn for the samples that have a spike; a draw is 1 / q. torch.rand_like is one itself.

    Args:
        numbers: [T, B, *shape] by layer; written to if they are recorded.
        recorded: Write them down.
    """

    def __init__(self, numbers: dict[str, Array], recorded: bool) -> None:
        super().__init__()
        self.numbers, self.recorded = numbers, recorded
        self.layer = ""
        self.step = 0
        self.fired: Any = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Stand in for the two functions that draw."""
        if func in (torch.multinomial, torch.rand_like):
            stand_in = self._choice if func is torch.multinomial else self._threshold
            return stand_in(func, *args)
        return func(*args, **(kwargs or {}))

    def _choice(self, func: Callable[..., Any], scores: Any, *rest: Any) -> Any:
        numbers = self.numbers[self.layer][self.step]
        rows = self.fired().reshape(len(numbers), -1).any(1).numpy()
        flat = numbers.reshape(len(numbers), -1)
        if not self.recorded:
            given = torch.from_numpy(flat[rows])
            return (scores * given).argmax(1, keepdim=True)
        before = torch.get_rng_state()
        inverse = 1.0 / torch.empty_like(scores).exponential_(1)
        torch.set_rng_state(before)
        chosen = func(scores, *rest)
        if not torch.equal((scores * inverse).argmax(1, keepdim=True), chosen):
            what = "torch.multinomial does not draw here as it is known to"
            raise error("SNN808", what, node=self.layer, hint="use draws='counter'")
        flat[rows] = inverse.numpy()
        return chosen

    def _threshold(self, func: Callable[..., Any], like: Any) -> Any:
        numbers = self.numbers[self.layer][self.step]
        if not self.recorded:
            return torch.from_numpy(np.array(numbers, np.float32))
        drawn = func(like)
        numbers[...] = drawn.numpy()
        return drawn
