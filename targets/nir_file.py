"""`nir`: writing NIR files, with the discrete semantics in node metadata.

The file is valid NIR for others; what NIR leaves open travels in the key `snnir` (see
`docs/nir.md`), so that reading it back gives the same graph. Sums and one-step recurrent delays
are implied by NIR's edges; everything else must have a NIR node or is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np

from snnir.errors import Diagnostic, SnnirError
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.order import components
from snnir.ir.pooling import AvgPool2d, SumPool2d
from snnir.ir.structure import Add, Current, Flatten, Input
from snnir.ir.synapses import Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay
from snnir.nir_keys import KEY, PARAMS, VERSION
from snnir.pipeline import PipelineResult
from snnir.target import Compiled, Target
from snnir.targets.nir_lift import lift
from snnir.tensors import Tensor

if TYPE_CHECKING:
    import nir

Attributes = dict[str, Any]


@dataclass(frozen=True)
class NirTarget(Target):
    """A NIR file."""

    name: ClassVar[str] = "nir"
    summary: ClassVar[str] = "NIR exchange file with the semantics in its metadata"

    def pipeline(self, level: int) -> str:
        """Return no passes that would discretise: NIR carries the continuous model."""
        return "canonicalize,remove-identity,dead-code" if level else ""

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Return every node NIR has no type for."""
        return _Writer(graph).problems

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return a folder with the `.nir` file."""
        return Compiled(graph, self, {"model.nir": partial(_write_stream, graph)}, history)

    @staticmethod
    def to_nir(graph: Graph) -> nir.NIRGraph:
        """Return the `nir.NIRGraph`; see `snnir.to_nir`."""
        return _Writer(graph).nir_graph()

    @staticmethod
    def write(graph: Graph, path: Path) -> None:
        """Write the file, whole or not at all."""
        from snnir.artefact import replacing

        made = _Writer(graph).nir_graph()
        with replacing(path) as file:
            _write_nir(made, file)


def _write_stream(graph: Graph, file: BinaryIO) -> None:
    _write_nir(NirTarget.to_nir(graph), file)


def _write_nir(made: nir.NIRGraph, file: BinaryIO) -> None:
    import io

    import nir

    if file.readable() and file.seekable():
        nir.write(file, made)
        return
    image = io.BytesIO()
    nir.write(image, made)
    file.write(image.getbuffer())


@dataclass
class _Entry:
    """One NIR node to be: type, constructor arguments, record, user metadata."""

    type: str
    fields: Attributes
    record: Attributes = field(default_factory=dict)
    params: Mapping[str, Tensor] = field(default_factory=dict)


class _Writer:
    """Plans the NIR graph; problems are collected before anything is built."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.problems: list[Diagnostic] = []
        self.entries: dict[str, _Entry] = {}
        self.edges: list[tuple[str, str]] = []
        self.implied = self._implied()
        for name in graph.order:
            if name not in self.implied:
                self._node(graph.nodes[name])
        for name, value in graph.outputs.items():
            self._output(name, value)
        self.names = self._file_names()

    def _implied(self) -> set[str]:
        """Return the nodes that NIR's edges stand for: lone sums, currents, recurrent delays."""
        graph = self.graph
        successors = {n: [user for user, _ in users] for n, users in graph.uses.items()}
        cyclic: set[str] = set()
        if any(isinstance(node.op, Delay) for node in graph.nodes.values()):
            cyclic = {n for group in components(successors) for n in group if len(group) > 1}
            cyclic |= {n for n, users in successors.items() if n in users}
        return {n.name for n in graph.nodes.values() if self._is_implied(n, cyclic)}

    def _is_implied(self, node: Node, cyclic: set[str]) -> bool:
        users = [self.graph.nodes[user] for user, _ in self.graph.uses[node.name]]
        is_output = any(value.node == node.name for value in self.graph.outputs.values())
        if isinstance(node.op, Current):
            return not is_output
        if isinstance(node.op, Delay):
            # A user that is itself implied by an edge would lose where the delay was.
            return node.name in cyclic and node.op.steps == 1 and not is_output
        if not isinstance(node.op, Add) or len(users) != 1 or is_output:
            return False
        sources = [value.node for value in node.operands]
        return not isinstance(users[0].op, (Add, Delay)) and len(set(sources)) == len(sources)

    def _fail(self, node: Node, message: str, hint: str | None = None) -> None:
        self.problems.append(Diagnostic("SNN501", message, node.name, hint=hint))

    def _sources(self, name: str, operands: tuple[Value, ...]) -> Attributes:
        """Add the edges into a node; return the record of their order and delays."""
        found: list[str] = []
        delays: dict[str, int] = {}
        pending = [(value.node, 0) for value in reversed(operands)]
        while pending:
            source, delay = pending.pop()
            node = self.graph.nodes[source]
            if source not in self.implied:
                found.append(source)
                if delay:
                    delays[source] = delay
                continue
            step = delay + (1 if isinstance(node.op, Delay) else 0)
            pending.extend((value.node, step) for value in reversed(node.operands))
        if len(set(found)) != len(found):
            self._fail(self.graph.nodes.get(name) or Node(name, Add()), "reads one node twice")
        self.edges.extend((source, name) for source in found)
        record: Attributes = {"sources": found} if len(found) > 1 else {}
        return {**record, "delays": delays} if delays else record

    def _node(self, node: Node) -> None:
        maker = _MAKERS.get(type(node.op))
        if maker is None:
            hint = "run passes that remove it, or save as .snnir"
            self._fail(node, f"NIR has no node for '{node.op.name}'", hint)
            return
        if any(value.result for value in node.operands):
            self._fail(node, "NIR nodes have one output, it reads another")
        try:
            entry = maker(self, node)
        except SnnirError as failure:
            self.problems.extend(
                Diagnostic(d.code, d.message, node.name, hint=d.hint) for d in failure.diagnostics
            )
            return
        entry.record.update(self._sources(node.name, node.operands))
        self.entries[node.name] = entry

    def _output(self, name: str, value: Value) -> None:
        key = name
        while key in self.graph.nodes or key in self.entries:
            key += "_"
        signal = self.graph.signals[value]
        record: Attributes = {"name": name} if key != name else {}
        self.entries[key] = _Entry("Output", {"shape": signal.shape}, record)
        record.update(self._sources(key, (value,)))

    def _file_names(self) -> dict[str, str]:
        """Return names HDF5 can hold; where they differ, the record keeps the original."""
        taken = {name for name in self.entries if _plain(name)}
        names: dict[str, str] = {}
        for name, entry in self.entries.items():
            safe = name
            if not _plain(name):
                stem = safe = name.replace("/", "_").replace("\0", "_").strip(".") or "node"
                number = 0
                while safe in taken:
                    number += 1
                    safe = f"{stem}_{number}"
                taken.add(safe)
                entry.record.setdefault("name", name)
            names[name] = safe
        return names

    def signal_shape(self, node: Node) -> tuple[int, ...]:
        return self.graph.signals[node.operands[0]].shape

    def nir_graph(self) -> nir.NIRGraph:
        """Build the graph.

        Raises:
            SnnirError: SNN501 with everything NIR cannot express.
        """
        import nir

        if self.problems:
            raise SnnirError(self.problems)
        nodes = {self.names[name]: self._nir_node(name, e) for name, e in self.entries.items()}
        edges = [(self.names[a], self.names[b]) for a, b in self.edges]
        graph = self.graph
        record = {"version": VERSION, "name": graph.name, "dt": graph.dt}
        if graph.record_offset:
            record["record_offset"] = graph.record_offset
        # Types are known to be right; NIR's own inference is quadratic in the nodes.
        return nir.NIRGraph(nodes, edges, metadata={KEY: _json(record)}, type_check=False)

    def _nir_node(self, name: str, entry: _Entry) -> Any:
        import nir

        node = self.graph.nodes.get(name)
        metadata: Attributes = dict(node.metadata) if node is not None else {}
        if entry.params:
            metadata[PARAMS] = {k: np.atleast_1d(p.numpy()) for k, p in entry.params.items()}
        if entry.record:
            metadata[KEY] = _json(entry.record)
        fields = dict(entry.fields)
        if entry.type == "Input":
            made: Any = nir.Input(input_type={"input": np.array(fields["shape"])})
        elif entry.type == "Output":
            made = nir.Output(output_type={"output": np.array(fields["shape"])})
        else:
            made = getattr(nir, entry.type)(**fields)
        made.metadata = metadata
        return made


def _plain(name: str) -> bool:
    return bool(name) and "/" not in name and "\0" not in name and name.strip(".") != ""


def _json(value: Any) -> str:
    import json

    return json.dumps(value, sort_keys=True)


def _full(value: Tensor, shape: tuple[int, ...]) -> Any:
    """Return a parameter in the population's full shape, as NIR demands (at least one axis)."""
    return np.ascontiguousarray(np.broadcast_to(value.numpy(), shape or (1,)))


def _shapes(params: Mapping[str, Tensor], shape: tuple[int, ...]) -> Attributes:
    """Return the record of parameters that are broadcast."""
    odd = {name: list(value.shape) for name, value in params.items() if value.shape != shape}
    return {"shapes": odd} if odd else {}


def _input(writer: _Writer, node: Node) -> _Entry:
    assert isinstance(node.op, Input)
    signal = node.op.signal
    return _Entry("Input", {"shape": signal.shape}, {"kind": str(signal.kind)})


def _linear(writer: _Writer, node: Node) -> _Entry:
    op = node.op
    assert isinstance(op, Linear)
    if op.bias is None:
        return _Entry("Linear", {"weight": op.weight.numpy()})
    bias = _full(op.bias, (op.weight.shape[0],))
    return _Entry("Affine", {"weight": op.weight.numpy(), "bias": bias})


def _convolution(writer: _Writer, node: Node) -> _Entry:
    op = node.op
    assert isinstance(op, (Conv1d, Conv2d))
    space = writer.signal_shape(node)[1:]
    out = op.weight.shape[0]
    bias = np.zeros(out, np.float32) if op.bias is None else _full(op.bias, (out,))
    fields: Attributes = {"weight": op.weight.numpy(), "groups": op.groups, "bias": bias}
    if isinstance(op, Conv1d):
        fields |= {"input_shape": space[0], "stride": op.stride[0], "dilation": op.dilation[0]}
    else:
        fields |= {"input_shape": space, "stride": op.stride, "dilation": op.dilation}
    padding = _padding(writer, node, op)
    if padding is not None:
        single = isinstance(op, Conv1d) and not isinstance(padding, str)
        fields["padding"] = padding[0] if single else padding
    record = {"no_bias": True} if op.bias is None else {}
    return _Entry("Conv1d" if isinstance(op, Conv1d) else "Conv2d", fields, record)


def _padding(writer: _Writer, node: Node, op: Conv1d | Conv2d) -> Any:
    if all(before == after for before, after in op.padding):
        return tuple(before for before, _ in op.padding)
    totals = [d * (k - 1) for k, d in zip(op.weight.shape[2:], op.dilation, strict=True)]
    same = tuple((total // 2, total - total // 2) for total in totals)
    if op.padding == same and set(op.stride) == {1}:
        return "same"
    writer._fail(node, f"NIR has no padding {op.padding}, which differs before and after")
    return None


def _pool(writer: _Writer, node: Node) -> _Entry:
    op = node.op
    assert isinstance(op, (SumPool2d, AvgPool2d))
    if any(before != after for before, after in op.padding):
        writer._fail(node, f"NIR has no padding {op.padding}, which differs before and after")
    fields = {
        "kernel_size": np.array(op.kernel),
        "stride": np.array(op.stride),
        "padding": np.array([before for before, _ in op.padding]),
    }
    return _Entry(type(op).__name__, fields)


def _flatten(writer: _Writer, node: Node) -> _Entry:
    assert isinstance(node.op, Flatten)
    shape = np.array(writer.signal_shape(node))
    fields = {"input_type": {"input": shape}, "start_dim": node.op.start, "end_dim": node.op.end}
    return _Entry("Flatten", fields)


def _scale(writer: _Writer, node: Node) -> _Entry:
    assert isinstance(node.op, Scale)
    shape = writer.graph.signal(node.name).shape
    params = {"scale": node.op.scale}
    return _Entry("Scale", {"scale": _full(node.op.scale, shape)}, _shapes(params, shape))


def _sum(writer: _Writer, node: Node) -> _Entry:
    """A sum that several nodes read: a scale by 1 gives it a place of its own."""
    shape = writer.graph.signal(node.name).shape
    return _Entry("Scale", {"scale": np.ones(shape or (1,), np.float32)}, {"op": node.op.name})


def _delay(writer: _Writer, node: Node) -> _Entry:
    op = node.op
    assert isinstance(op, Delay)
    dt = writer.graph.dt
    if dt is None:
        writer._fail(node, "NIR states delays in seconds, but the graph has no dt")
        return _Entry("Delay", {})
    shape = writer.graph.signal(node.name).shape
    steps = op.steps if isinstance(op.steps, Tensor) else Tensor(np.int64(op.steps))
    return _Entry(
        "Delay", {"delay": _full(steps, shape) * np.float64(dt)}, _shapes({"steps": steps}, shape)
    )


_TYPES = {
    "i": "I", "li": "LI", "if": "IF", "lif": "LIF", "cubali": "CubaLI", "cubalif": "CubaLIF",
    "threshold": "Threshold",
}  # fmt: skip


def _neuron(writer: _Writer, node: Node) -> _Entry:
    op = node.op
    assert isinstance(op, Neuron)
    if op.model not in _TYPES:
        writer._fail(node, f"NIR has no neuron like '{op.model}'", "save as .snnir")
        return _Entry("LIF", {})
    shape = writer.graph.signal(node.name).shape
    params = {name: op.params[name] for name in op.definition.params if name in op.params}
    for name, value in op.definition.defaults.items():
        params.setdefault(name, Tensor(np.float32(value)))
    record: Attributes = _shapes(params, shape)
    if op.stepping is not None:
        record["stepping"] = op.stepping.attributes()
    fields = {name: _full(value, shape) for name, value in params.items()}
    return _Entry(_TYPES[op.model], fields, record)


def _step(writer: _Writer, node: Node) -> _Entry:
    op = node.op
    assert isinstance(op, Step)
    shape = writer.graph.signal(node.name).shape
    model, values = lift(op, writer.graph.dt)
    dtype = np.float64
    fields = {k: _full(Tensor(np.asarray(v, dtype)), shape) for k, v in values.items()}
    record: Attributes = {
        "step": op.dynamics.attributes(),  # type: ignore[union-attr]  # lift refuses others
        "model": op.model,
        "shapes": {name: list(value.shape) for name, value in op.params.items()},
    }
    return _Entry(_TYPES[model], fields, record, op.params)


_MAKERS: dict[type, Callable[[_Writer, Node], _Entry]] = {
    Input: _input,
    Linear: _linear,
    Conv1d: _convolution,
    Conv2d: _convolution,
    SumPool2d: _pool,
    AvgPool2d: _pool,
    Flatten: _flatten,
    Scale: _scale,
    Add: _sum,
    Current: _sum,
    Delay: _delay,
    Neuron: _neuron,
    Step: _step,
}
