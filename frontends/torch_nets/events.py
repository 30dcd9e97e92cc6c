"""What a recording consists of: values, constants and events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253  (this module is imported when a torch model is)

from snnir.ir.graph import Graph

if TYPE_CHECKING:
    from snnir.frontends.torch_nets.build import Builder
    from snnir.ir.graph import Value

#: Event number of the model's input.
INPUT = -1

#: How many leading axes of a tensor are time and batch, by layout. `B` is a single step; `M:TB`
#: and `M:BT` have both merged into one axis, in that order.
LEADS = {"B": 1, "TB": 2, "BT": 2, "M:TB": 1, "M:BT": 1}


@dataclass(frozen=True)
class Ref:
    """A value that derives from the model's input.

    Attributes:
        source: Number of the event that made it, or `INPUT`.
        result: Which of its results.
        lead: Layout of the leading axes, a key of `LEADS`.
        time: The step of a single-step value; None for a value that is the same in every step,
            and for whole sequences.
    """

    source: int
    result: str = "out"
    lead: str = "B"
    time: int | None = None


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not derive from the model's input."""

    tensor: Any

    @property
    def is_zero(self) -> bool:
        """Whether every element is zero."""
        return not bool(self.tensor.any())

    def identity(self) -> tuple[Any, ...]:
        """Return a key that is equal for equal contents."""
        array = self.tensor.detach().cpu().contiguous().numpy()
        return ("constant", array.shape, str(array.dtype), hash(array.tobytes()))


@dataclass(frozen=True)
class Bad:
    """A value snnir has no op for; an error only if the model's result needs it.

    Attributes:
        reason: What made it.
        where: File and line.
    """

    reason: str
    where: str


Operand = Ref | Constant
#: Adds the nodes of an event: (builder, name, operands) to its results by name.
Maker = Callable[["Builder", str, Sequence["Value | Constant"]], "dict[str, Value]"]


@dataclass
class Event:
    """One operation of the recorded run.

    Attributes:
        key: What is done; equal for the same operation in another step.
        operands: What it reads.
        make: Adds its nodes to a graph.
        time: Step of a single-step event; None if it is the same in every step or works on
            whole sequences.
        lead: Layout of its result.
        path: Name its node should have.
        where: File and line of the call.
        neuron: Path of the module, if it is a neuron; its calls count the steps.
        seen: Recorded operands and results of a neuron, for the check against its program.
    """

    key: tuple[Any, ...]
    operands: tuple[Operand, ...]
    make: Maker
    time: int | None
    lead: str
    path: str
    where: str
    neuron: str = ""
    seen: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Captured:
    """A graph and the run it was recovered from.

    Attributes:
        graph: The graph.
        layout: The layout of the model's input that was found.
        neurons: Node of every neuron by its module path.
    """

    graph: Graph
    layout: str
    neurons: dict[str, str] = field(default_factory=dict)


def outputs_of(returned: Any) -> list[tuple[str, Any]]:
    """Return the tensors of a result that are outputs, by name."""
    if isinstance(returned, torch.Tensor):
        return [("output", returned)]
    if isinstance(returned, dict):
        return [(str(k), v) for k, v in returned.items() if isinstance(v, torch.Tensor)]
    items = [v for v in returned or () if isinstance(v, torch.Tensor)]
    return [("output" if at == 0 else f"output_{at}", v) for at, v in enumerate(items)]
