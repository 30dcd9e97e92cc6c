"""From a graph to operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics
from snnir.dynamics.program import Operand as Argument
from snnir.errors import error
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.printer import program_lines
from snnir.mlir import tree
from snnir.mlir.tree import Names, Operation, Ref, Symbol
from snnir.semantics import Stepping
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor


def module_of(graph: Graph) -> Operation:
    """Return the module of a graph, which must be valid.

    Raises:
        SnnirError: SNN202 for a value whose type is not known, SNN402 for an op whose name the
            dialect needs itself.
    """
    return _Encoder(graph).module()


Programs = Callable[[Dynamics], Symbol]


def _nowhere(program: Dynamics) -> Symbol:
    message = f"the program {program.name} needs a module of its own"
    raise error("SNN503", message, hint="use a step of the LIF family, or change the graph")


def node_operation(
    node: Node, operands: int, types: tuple[Signal, ...], program: Programs = _nowhere
) -> Operation:
    """Return the operation of a node, without its operands and the name of its results.

    Args:
        node: The node.
        operands: How many operands it has.
        types: Types of its results.
        program: Gives the symbol of a step program.
    """
    op = node.op
    if op.name in tree.TAKEN or f"snn.{op.name}".startswith(tree.SCALAR):
        raise error("SNN402", f"the dialect snn has a '{op.name}' of its own", node=node.name)
    is_lif = isinstance(op, Step) and isinstance(op.dynamics, LifStep)
    attributes = {tree.NODE: node.name}
    attributes |= {item.name: _value(getattr(op, item.name), program) for item in fields(op)}
    attributes[tree.METADATA] = _value(node.metadata, program)
    name = tree.counted(type(op), "lif" if is_lif else op.name, operands, len(types))
    return Operation(name, (), attributes, "", types)


def _value(value: Any, program: Programs) -> Any:
    """Return an attribute's value as the dialect has it; mappings keep their order."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Kind):
        return {"kind": value.value}
    if isinstance(value, tuple):
        return tuple(_value(item, program) for item in value)
    if isinstance(value, FrozenDict):
        return tuple((key, _value(item, program)) for key, item in value.items())
    if isinstance(value, (LifStep, Stepping)):
        return dict(value.attributes())
    if isinstance(value, Dynamics):
        return program(value)
    if value is None or isinstance(value, (bool, int, float, str, Tensor, Signal)):
        return value
    raise TypeError(f"{type(value).__name__} has no form in MLIR")


class _Encoder:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values, self.symbols = Names(), Names()
        self.names = {node: self.values.fresh(node, "n") for node in graph.nodes}
        self.programs: dict[str, Operation] = {}
        self._symbols: dict[tuple[str, ...], Symbol] = {}

    def module(self) -> Operation:
        nodes = [self.node(node) for node in self.graph.nodes.values()]
        outputs = [
            Operation(tree.OUTPUT, (self.ref(value),), {"name": name})
            for name, value in self.graph.outputs.items()
        ]
        body = [self.header(), *nodes, *outputs, *self.programs.values()]
        return Operation(tree.MODULE, body=body)

    def header(self) -> Operation:
        graph, origin = self.graph, self.graph.provenance
        return Operation(
            tree.GRAPH,
            attributes={
                "version": tree.VERSION,
                "name": graph.name,
                "dt": None if graph.dt is None else float(graph.dt),
                "record_offset": graph.record_offset,
                "source": origin.source,
                "digest": origin.digest,
                "notes": origin.notes,
            },
        )

    def ref(self, value: Value) -> Ref:
        return self.names[value.node], value.result

    def node(self, node: Node) -> Operation:
        made = node_operation(node, len(node.operands), self.types(node), self.program)
        made.operands = tuple(self.ref(value) for value in node.operands)
        made.result = self.names[node.name]
        return made

    def types(self, node: Node) -> tuple[Signal, ...]:
        count = len(node.op.program.outputs) if isinstance(node.op, Step) else 1
        found = [self.graph.signals.get(Value(node.name, index)) for index in range(count)]
        known = tuple(signal for signal in found if signal is not None)
        if len(known) < count:
            raise error("SNN202", "the type of its result is not known", node=node.name)
        return known

    def program(self, program: Dynamics) -> Symbol:
        """Return the symbol of a program; programs are told apart by their text."""
        content = tuple(program_lines(program, ""))
        if content not in self._symbols:
            name = Symbol(self.symbols.fresh(program.name, "p"))
            self._symbols[content] = name
            self.programs[name] = _ProgramEncoder(program, name, self.values).module()
        return self._symbols[content]


class _ProgramEncoder:
    """Writes one step program, an operation per line of it.

    MLIR does not let a module inside another use a name of the outer one again.
    """

    def __init__(self, program: Dynamics, symbol: Symbol, values: Names) -> None:
        self.program, self.symbol, self.values = program, symbol, values
        self.types = program.types()
        self.body: list[Operation] = []
        self.names: dict[str, str] = {}

    def module(self) -> Operation:
        program = self.program
        header = {"name": program.name, "dtype": program.dtype}
        self.body.append(Operation(tree.PROGRAM, attributes=header))
        for name in program.inputs:
            self.define(name, tree.PROGRAM_INPUT)
        for name, unit in program.params:
            self.define(name, tree.PROGRAM_PARAM, unit=unit)
        for state in program.states:
            initial = state.initial
            start = initial if isinstance(initial, str) else float(initial)
            self.define(state.name, tree.PROGRAM_STATE, initial=start, lasting=state.lasting)
        for let in program.body:
            arguments = tuple(map(self.argument, let.args))
            self.define(let.target, f"{tree.SCALAR}{let.op}", arguments)
        for name, value in program.updates:
            given = (self.argument(value),)
            self.body.append(Operation(tree.PROGRAM_NEXT, given, {"state": name}))
        for name, kind in program.outputs:
            self.body.append(
                Operation(tree.PROGRAM_EMIT, (self.argument(name),), {"kind": kind.value})
            )
        return Operation(tree.MODULE, attributes={"sym_name": str(self.symbol)}, body=self.body)

    def fresh(self, name: str) -> str:
        return self.values.fresh(f"{self.symbol}.{name}", "v")

    def define(
        self, name: str, operation: str, operands: tuple[Ref, ...] = (), **attributes: Any
    ) -> None:
        self.names[name] = self.fresh(name)
        kind = "i1" if self.types[name] == "bool" else self.program.dtype
        given = {"name": name, **attributes}
        self.body.append(Operation(operation, operands, given, self.names[name], (kind,)))

    def argument(self, value: Argument) -> Ref:
        if isinstance(value, str):
            return self.names[value], 0
        result = self.fresh("c")
        given = {"value": float(value)}
        dtype = self.program.dtype
        self.body.append(Operation(tree.CONSTANT, (), given, result, (dtype,)))
        return result, 0
