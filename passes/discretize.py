"""Turn continuous neurons into step programs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from snnir.dynamics.discrete import discrete_neuron
from snnir.errors import Diagnostic, SnnirError, error, warn
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron, Step
from snnir.ir.origins import Origin
from snnir.passes.step_origins import StepOrigins
from snnir.pipeline import EXACT, Pass
from snnir.presets import DEFAULT, preset
from snnir.semantic_items import Choice
from snnir.streams import DTYPES


@dataclass(frozen=True)
class Discretize(Pass):
    """Derive the step program of every continuous neuron from its stepping record.

    Exact with respect to that record. Where the graph has no dt, or a neuron no record, the
    options decide; where they do not either, a warning names the default taken.

    Options:
        dt: Seconds per step, for graphs that have none.
        semantics: Preset for neurons without a record.
        dtype: Element type of the derived parameters, `f32` or `f64`.
    """

    name: ClassVar[str] = "discretize"
    fidelity: ClassVar[str] = EXACT
    dt: float | None = None
    semantics: str | None = None
    dtype: str = "f32"

    def run(self, graph: Graph) -> Graph:
        """Return the discrete graph.

        Raises:
            SnnirError: SNN302 for a stepping a model does not have, SNN303 for a wrong dt.
        """
        neurons = [n for n in graph.nodes.values() if isinstance(n.op, Neuron)]
        if not neurons:
            return graph
        dt = self._step_length(graph)
        editor = graph.edit()
        origins = StepOrigins(graph, self._choice(), self.dtype)
        problems: list[Diagnostic] = []
        for node in neurons:
            assert isinstance(node.op, Neuron)
            try:
                step = self._step(node.op, node.name, dt)
                editor.set_op(node.name, step)
                origins.add(node.name, node.op, step)
            except SnnirError as failure:
                problems.extend(replace(d, node=node.name) for d in failure.diagnostics)
        if problems:
            raise SnnirError(problems)
        if graph.dt is None:
            given = Origin(dt, Origin.GIVEN, "pass 'discretize', its option dt")
            default = Origin(dt, Origin.ASSUMED, f"the default of '{self.semantics or DEFAULT}'")
            origins.whole["dt"] = default if self.dt is None else given
        return editor.graph(dt=dt, provenance=origins.provenance())

    def _choice(self) -> Choice:
        return Choice(preset(self.semantics or DEFAULT), self.semantics is not None)

    def _step_length(self, graph: Graph) -> float:
        dt = graph.dt if graph.dt is not None else self.dt
        if dt is None:
            dt = preset(self.semantics or DEFAULT).dt
            message = f"the graph has no dt; took {dt:g} s"
            warn(Diagnostic("SNN301", message, hint="set one with --dt or dt="))
        if not (np.isfinite(dt) and dt > 0):
            raise error("SNN303", f"dt is {dt}, must be a positive number of seconds")
        return dt

    def _step(self, op: Neuron, name: str, dt: float) -> Step:
        stepping = op.stepping
        if stepping is None:
            chosen = preset(self.semantics or DEFAULT)
            stepping = chosen.for_model(op.model)
            if self.semantics is None:
                message = f"nothing says how it is stepped; took '{chosen.name}'"
                warn(Diagnostic("SNN301", message, node=name, hint="choose with --semantics"))
        if self.dtype not in ("f32", "f64"):
            raise error("SNN401", f"discretize: dtype is '{self.dtype}', must be f32 or f64")
        dtype = DTYPES[self.dtype]
        program, params = discrete_neuron(op.definition, op.params, stepping, dt, dtype)
        return Step(program, params, op.model)
