"""`nir`: writing NIR files, with the discrete semantics in node metadata.

The file is valid NIR for others; what NIR leaves open travels in the key `snnir` (see
`docs/nir.md`), so that reading it back gives the same graph. Sums and one-step recurrent delays
are implied by NIR's edges; everything else must have a NIR node or is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np

from snnir.errors import Diagnostic, SnnirError
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.order import components
from snnir.ir.structure import Add, Current
from snnir.ir.timing import Delay
from snnir.loss_report import REFUSED, LossReport, NodeLoss, report
from snnir.nir_keys import KEY, PARAMS, VERSION
from snnir.pipeline import PipelineResult
from snnir.target import Compiled, Target
from snnir.targets.nir_lift import NOMINAL_DT
from snnir.targets.nir_makers import MAKERS, Attributes, Entry

if TYPE_CHECKING:
    import nir


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
        return Writer(graph).problems

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return a folder with the `.nir` file."""
        return Compiled(graph, self, {"model.nir": partial(_write_stream, graph)}, history)

    @staticmethod
    def to_nir(graph: Graph) -> nir.NIRGraph:
        """Return the `nir.NIRGraph`; see `snnir.to_nir`."""
        return Writer(graph).nir_graph()

    def losses(self, graph: Graph) -> LossReport:
        """Return that every node is stored exactly, or refused."""
        refused = [NodeLoss(d.node, REFUSED, d.message) for d in self.check(graph) if d.node]
        return report(graph, self.name, refused, exact=True)

    @staticmethod
    def write(graph: Graph, path: Path) -> None:
        """Write the file, whole or not at all."""
        from snnir.artefact import replacing

        made = Writer(graph).nir_graph()
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


class Writer:
    """Plans the NIR graph; problems are collected before anything is built."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.problems: list[Diagnostic] = []
        self.entries: dict[str, Entry] = {}
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
            is_plain = node.op.steps == 1 and node.op.seconds is None
            return node.name in cyclic and is_plain and not is_output
        if not isinstance(node.op, Add) or len(users) != 1 or is_output:
            return False
        sources = [value.node for value in node.operands]
        return not isinstance(users[0].op, (Add, Delay)) and len(set(sources)) == len(sources)

    def fail(self, node: Node, message: str, hint: str | None = None) -> None:
        """Note that a node cannot be written."""
        self.problems.append(Diagnostic("SNN501", message, node.name, hint=hint))

    def _sources(self, name: str, operands: tuple[Value, ...]) -> Attributes:
        """Add the edges into a node; return the record of their order and delays."""
        delays = {source: steps for source, steps in self._paths(operands) if steps}
        found = self._origins(operands)
        if len(set(found)) != len(found):
            self.fail(self.graph.nodes.get(name) or Node(name, Add()), "reads one node twice")
        self.edges.extend((source, name) for source in found)
        record: Attributes = {"sources": found} if len(found) > 1 else {}
        return {**record, "delays": delays} if delays else record

    def _origins(self, operands: tuple[Value, ...]) -> list[str]:
        """Return the nodes that operands come from, in order of summation."""
        return [source for source, _ in self._paths(operands)]

    def _paths(self, operands: tuple[Value, ...]) -> list[tuple[str, int]]:
        """Return (node, delay on the way) for everything operands sum up."""
        found: list[tuple[str, int]] = []
        pending = [(value.node, 0) for value in reversed(operands)]
        while pending:
            source, delay = pending.pop()
            node = self.graph.nodes[source]
            if source not in self.implied:
                found.append((source, delay))
                continue
            step = delay + (1 if isinstance(node.op, Delay) else 0)
            pending.extend((value.node, step) for value in reversed(node.operands))
        return found

    def _node(self, node: Node) -> None:
        maker = MAKERS.get(type(node.op))
        if maker is None:
            hint = "run passes that remove it, or save as .snnir"
            self.fail(node, f"NIR has no node for '{node.op.name}'", hint)
            return
        if any(value.result for value in node.operands):
            self.fail(node, "NIR nodes have one output, it reads another")
        try:
            entry = maker(self, node)
        except SnnirError as failure:
            self.problems.extend(
                Diagnostic(d.code, d.message, node.name, hint=d.hint) for d in failure.diagnostics
            )
            return
        entry.record.update(self._sources(node.name, node.operands))
        if isinstance(node.op, Step) and len(node.operands) > 1:
            counts = [len(self._origins((value,))) for value in node.operands]
            entry.record.update({"operands": counts, "sources": self._origins(node.operands)})
        self.entries[node.name] = entry

    def _output(self, name: str, value: Value) -> None:
        key = name
        while key in self.graph.nodes or key in self.entries:
            key += "_"
        signal = self.graph.signals[value]
        record: Attributes = {"output": name} if key != name else {}
        self.entries[key] = Entry("Output", {"shape": signal.shape}, record)
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
        """Return the shape of what a node reads."""
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
        if graph.dt is None:
            record["nominal_dt"] = NOMINAL_DT
        if graph.record_offset:
            record["record_offset"] = graph.record_offset
        # Types are known to be right; NIR's own inference is quadratic in the nodes.
        return nir.NIRGraph(nodes, edges, metadata={KEY: _json(record)}, type_check=False)

    def _nir_node(self, name: str, entry: Entry) -> Any:
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
