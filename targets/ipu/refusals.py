"""What tiles cannot compute, whatever their memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnir.errors import Diagnostic
from snnir.ir.graph import Node, Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Current, Flatten, Input, Reshape
from snnir.ir.synapses import Conv1d, Conv2d, Linear
from snnir.ir.timing import Delay
from snnir.ir.winner import Winner
from snnir.targets.ipu.structure import ELEMENTWISE, GATHERING, Structure, is_alias
from snnir.targets.ipu.vertices import KEPT
from snnir.tensors import Tensor

#: Ops that codelets are written for.
KNOWN = (
    *ELEMENTWISE, *GATHERING, Input, Step, Delay, Winner, Flatten, Reshape, Current,
)  # fmt: skip
_FLOAT64 = "the IPU has no float64"
_WIDE = "codelets keep integers of 32 bits"
_NARROWER = "use float32"
_FEWER_BITS = "quantize with fewer bits, or scale inputs down"


def refused(structure: Structure) -> list[Diagnostic]:
    """Return every node that has no form on tiles."""
    nodes = structure.graph.nodes.values()
    unknown = [
        Diagnostic(
            "SNN501",
            f"op '{node.op.name}' has no form in target 'ipu'",
            node.name,
            hint="`snnir list neurons --matrix` says which targets have one",
        )
        for node in nodes
        if not isinstance(node.op, KNOWN)
    ]
    # What an unknown op gives has no type.
    return unknown or [problem for node in nodes for problem in _of(structure, node)]


def _weights(op: Op) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of an op whose products with zero are left out of sums."""
    if isinstance(op, (Linear, Conv1d, Conv2d, SparseLinear)):
        key = "values" if isinstance(op, SparseLinear) else "weight"
        yield key, op.tensors()[key]


def _of(structure: Structure, node: Node) -> Iterator[Diagnostic]:
    layout, op = structure.layout, node.op
    if isinstance(op, Step):
        if layout.kind_of(op) == "double":
            what = f"steps in float64; {_FLOAT64}"
            yield Diagnostic("SNN501", what, node.name, hint=_NARROWER)
            return
        for name, kind in layout.state_types(node).items():
            if kind not in KEPT:
                what = f"its state '{name}' may need more than 32 bits; {_WIDE}"
                yield Diagnostic("SNN501", what, node.name, hint=_FEWER_BITS)
    if not structure.graph.signal(node.name).size:
        yield Diagnostic("SNN501", "gives nothing: its shape has no elements", node.name)
    for key, tensor in _weights(op):
        if not np.isfinite(tensor.numpy()).all():
            what = f"{key} has an infinite number; what does not fire is not multiplied with it"
            yield Diagnostic("SNN501", what, node.name, hint="use finite weights")
    if is_alias(node):
        return
    count = len(op.program.outputs) if isinstance(op, Step) else 1
    kinds = {layout.ctype(Value(node.name, index)) for index in range(count)}
    if "double" in kinds:
        yield Diagnostic("SNN501", f"gives float64; {_FLOAT64}", node.name, hint=_NARROWER)
    if "int64_t" in kinds:
        what = f"gives integers that may need more than 32 bits; {_WIDE}"
        yield Diagnostic("SNN501", what, node.name, hint=_FEWER_BITS)
