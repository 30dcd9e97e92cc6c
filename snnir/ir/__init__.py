"""The intermediate representation: types, ops, graphs, inference, verification, text and file."""

from snnir.ir.graph import Editor, Graph, Node, Provenance, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.op import OPS, Op, OpError, register_op
from snnir.ir.plastic import Plastic
from snnir.ir.pooling import AvgPool2d, MaxPool2d, PickMax2d, SumPool2d
from snnir.ir.random import Uniform
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import (
    Add,
    Concat,
    Current,
    Flatten,
    Input,
    Pad,
    Permute,
    Reshape,
    Slice,
)
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay
from snnir.ir.winner import Winner
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor, tensor

__all__ = [
    "OPS", "Add", "AvgPool2d", "BatchNorm", "Bias", "Concat", "Conv1d", "Conv2d", "Current",
    "Delay", "Editor", "Flatten", "FrozenDict", "Graph", "Input", "Kind", "Linear", "MaxPool2d",
    "Neuron", "Node", "Op", "OpError", "Pad", "Permute", "PickMax2d", "Plastic", "Provenance",
    "Reshape", "Scale", "Signal", "Slice", "SparseLinear", "Step", "SumPool2d", "Tensor",
    "Uniform", "Value", "Winner",
    "register_op", "tensor",
]  # fmt: skip
