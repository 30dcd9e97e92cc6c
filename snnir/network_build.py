"""From a discrete graph to a scheduled network: plain data, tensors and step programs."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

from snnir.artefact import populations
from snnir.bounds import precision_for
from snnir.dynamics.program import Dynamics
from snnir.dynamics.surrogate import Surrogate
from snnir.dynamics.whole import as_float
from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step as StepOp
from snnir.ir.op import KernelCall
from snnir.ir.plastic import Plastic
from snnir.ir.random import Uniform
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.network import Model, Unit, Whole
from snnir.scheduling import schedule
from snnir.tensors import Tensor

#: Precision option to (dtype of streams and states, dtype of sums).
PRECISIONS = {
    "float32": ("float32", "float32"),
    "reproducible": ("float32", "float64"),
    "float64": ("float64", "float64"),
}


def value_name(value: Value) -> str:
    """Return the engine's name of a value."""
    return value.node if value.result == 0 else f"{value.node}#{value.result}"


@dataclass
class NetworkBuilder:
    """Collects what an engine needs of a verified, discretised graph.

    Attributes:
        graph: The graph.
        precision: Key of `PRECISIONS`.
        surrogate: What stands for the derivative of a spike.
        detach: Whether resets count as constants.
        tensors: Every tensor by `node.attribute`.
        programs: Step programs by the name of their functions.
    """

    graph: Graph
    precision: str
    surrogate: Surrogate
    detach: bool | str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    programs: dict[str, Dynamics] = field(default_factory=dict)

    def model(self) -> Model:
        """Return the network; fills `tensors` and `programs`."""
        graph = self.graph
        self.precision = precision_for(graph, self.precision)
        dtype, acc = PRECISIONS[self.precision]
        units = [self.unit(node) for node in graph.nodes.values() if not isinstance(node.op, Input)]
        stages = schedule(graph).stages
        every = {unit.name: unit for unit in units}
        return Model(
            stages=tuple((stage.kind, stage.nodes) for stage in stages),
            units=every,
            inputs={name: tuple(signal.shape) for name, signal in graph.inputs.items()},
            outputs={name: value_name(value) for name, value in graph.outputs.items()},
            dtype=dtype,
            acc=acc,
            offset=graph.record_offset,
            populations=tuple(populations(graph)),
            whole=dict(pair for node in graph.nodes.values() for pair in whole_tensors(node)),
        )

    def unit(self, node: Node) -> Unit:
        """Return one node."""
        op = node.op
        operands = tuple(value_name(value) for value in node.operands)
        shape = tuple(self.graph.signal(node.name).shape)
        tensors = {path: f"{node.name}.{path}" for path in op.tensors()}
        self.tensors |= {tensors[path]: value for path, value in op.tensors().items()}
        if isinstance(op, Delay):
            steps = 0 if isinstance(op.steps, Tensor) else op.steps
            return Unit(
                node.name, "delay", operands, (node.name,), shape, tensors=tensors, steps=steps
            )
        if isinstance(op, StepOp):
            results = tuple(value_name(Value(node.name, i)) for i in range(len(op.program.outputs)))
            function = self.function(op.program)
            order = {"params": tuple(name for name, _ in op.program.params)}
            return Unit(
                node.name, "neuron", operands, results, shape, function, tensors, order,
                **_states(op.program, shape),
            )  # fmt: skip
        if isinstance(op, Plastic):
            return self.plastic(node, op, operands, tensors)
        if isinstance(op, Uniform):
            return Unit(
                node.name, "random", operands, (node.name,), shape, options={"seed": op.seed},
                initial={"step": op.step}, lasting={"step": ()},
            )  # fmt: skip
        call = op.call([self.graph.signals[value] for value in node.operands])
        arguments = self.arguments(op.tensors(), tensors, call)
        options: dict[str, object] = dict(call.options)
        if call.sums:
            options["acc"] = PRECISIONS[self.precision][1]
        return Unit(
            node.name, "op", operands, (node.name,), shape, call.function, arguments, options
        )

    def plastic(
        self, node: Node, op: Plastic, operands: tuple[str, ...], tensors: dict[str, str]
    ) -> Unit:
        """Return synapses that learn."""
        options = {
            "params": tuple(name for name, _ in op.rule.params),
            "reads": op.reads,
            "weight": op.weight_state.name,
            "sums": op.sums,
        }
        return Unit(
            node.name, "plastic", operands, (node.name,), op.shape, self.function(op.rule), tensors,
            options, **_states(op.rule, op.shape),
        )  # fmt: skip

    @staticmethod
    def arguments(
        own: dict[str, Tensor], names: dict[str, str], call: KernelCall
    ) -> dict[str, str]:
        """Return the network's tensors by the argument of the kernel they are."""
        return {
            argument: next(names[path] for path, other in own.items() if other is value)
            for argument, value in call.tensors.items()
        }

    def function(self, program: Dynamics) -> str:
        """Return the name of a program's functions."""
        program = as_float(program)
        for name, known in self.programs.items():
            if known == program:
                return name
        name = f"step_{len(self.programs) + 1}"
        self.programs[name] = program
        return name


def _states(program: Dynamics, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return what a unit says of the states of its program."""
    return {
        "initial": {state.name: state.initial for state in program.states},
        "lasting": dict.fromkeys(program.lasting, shape),
    }


def whole_tensors(node: Node) -> Iterator[tuple[str, Whole]]:
    """Yield the tensors of a node that are whole numbers of a known unit, by `node.attribute`."""
    for path, facts in node.op.whole().items():
        unit, zero = (f"{node.name}.{name}" if name else "" for name in (facts.unit, facts.zero))
        yield f"{node.name}.{path}", Whole(unit, facts.low, facts.high, zero)


def unsupported(graph: Graph, kernels: Container[str], target: str) -> list[Diagnostic]:
    """Return the nodes whose kernel a target does not have."""
    return [
        Diagnostic(
            "SNN501",
            f"op '{node.op.name}' has no form in target '{target}'",
            node.name,
            hint="`snnir list neurons --matrix` says which targets have one",
        )
        for node in graph.nodes.values()
        if not isinstance(node.op, (Input, Delay, StepOp, Plastic, Uniform))
        and node.op.call([graph.signals[v] for v in node.operands]).function not in kernels
    ]
