"""From an exported program to a traced step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a torch step function is)

import snnir.frontends.step_functions.export_division
import snnir.frontends.step_functions.export_elementwise
import snnir.frontends.step_functions.export_layers
import snnir.frontends.step_functions.export_moves  # noqa: F401  (all four define rules)
from snnir.errors import Diagnostic, SnnirError, error
from snnir.frontends.step_functions.export_call import own_name
from snnir.frontends.step_functions.export_lines import module_of
from snnir.frontends.step_functions.export_lowering import Lowering
from snnir.frontends.step_functions.export_program import Program
from snnir.frontends.step_functions.export_values import (
    MOST_FINDINGS,
    Const,
    Refused,
    Stream,
    Value,
    dtype_of,
)
from snnir.frontends.step_functions.traced import Array, Leaf, Operand, Traced, Variable


def traced_step(program: Program, name: str, source: str) -> Traced:
    """Lower a program to a step, with the batch axis if the program has one.

    Raises:
        SnnirError: Every operation without counterpart, at most 20 of them.
    """
    low = Lowering()
    values: dict[Any, Value] = _constants(program)
    nodes = {node.name: node for node in program.exported.graph.nodes}
    inputs = []
    for given, node in zip(program.names.inputs, program.inputs, strict=True):
        stream = _stream(low, given, nodes[node])
        values[nodes[node]] = stream
        inputs.append(Variable(stream.name, stream.shape, stream.dtype))
    alive = _alive(program, nodes)
    for given, node in zip(program.names.states, program.states, strict=True):
        values[nodes[node]] = _stream(low, given, nodes[node])
    low.run([node for node in program.exported.graph.nodes if node in alive], values)
    if low.findings:
        raise SnnirError(low.findings[:MOST_FINDINGS])
    ends = _Ends(low, nodes, values)
    return Traced(
        name=name,
        inputs=tuple(inputs),
        states=tuple(ends.leaves(program)),
        constants=low.constants,
        equations=tuple(low.equations),
        outputs=tuple(ends.outputs(program)),
        labels=low.labels,
        source=source,
        notes=tuple(low.notes),
    )


def _stream(low: Lowering, name: str, node: Any) -> Stream:
    example = node.meta["val"]
    try:
        return Stream(low.name(name), tuple(example.shape), dtype_of(example))
    except Refused as refusal:
        raise error(refusal.code, f"'{name}' {refusal.reason}", hint=refusal.hint) from None


def _constants(program: Program) -> dict[Any, Value]:
    """Return parameters, buffers and other tensors of a program by their node."""
    exported = program.exported
    signature = exported.graph_signature
    targets = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    found: dict[Any, Value] = {}
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in targets:
            target = targets[node.name]
            tensor = exported.state_dict.get(target, exported.constants.get(target))
            at = (tensor.data_ptr(), tuple(tensor.shape))
            known = program.labels.get(at, "") if tensor.numel() else ""
            label = known if "lifted_tensor" in target else own_name(target)
            found[node] = Const(tensor.detach(), label)
    return found


def _alive(program: Program, nodes: dict[str, Any]) -> set[Any]:
    """Return the nodes that the outputs and the new states need."""
    found: set[Any] = set()
    todo = [nodes[name] for name in (*program.outputs, *program.updates) if name in nodes]
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += node.all_input_nodes
    return found


class _Ends:
    """What a lowered program gives."""

    def __init__(self, low: Lowering, nodes: dict[str, Any], values: dict[Any, Value]) -> None:
        self.low, self.nodes, self.values = low, nodes, values

    def _operand(self, node: str, shape: Sequence[int]) -> Operand:
        value = self.values[self.nodes[node]]
        if isinstance(value, Stream):
            return value.name
        assert isinstance(value, Const)
        # The name of a result stands for its shape: one that is constant has to have it.
        return self.low.constant(value.tensor.expand(tuple(shape)).contiguous(), value.label)

    def leaves(self, program: Program) -> list[Leaf]:
        """Return the states."""
        found = []
        faults = []
        names = program.names
        for at, node in enumerate(program.states):
            old = self.values[self.nodes[node]]
            new = self.values[self.nodes[program.updates[at]]]
            assert isinstance(old, Stream)
            if isinstance(new, Stream) and (new.shape, new.dtype) != (old.shape, old.dtype):
                one, two = (f"{s.dtype} {list(s.shape)}" for s in (old, new))
                message = f"state '{names.states[at]}' is {one} and becomes {two}"
                hint = "a state keeps its shape and type from step to step"
                faults.append(Diagnostic("SNN801", message, hint=hint))
                continue
            initial = _array(program.initial[at])
            new_value = self._operand(program.updates[at], old.shape)
            scope = own_name(module_of(self.nodes[program.updates[at]]))
            found.append(Leaf(old.name, initial, new_value, names.paths[at], scope))
        if faults:
            raise SnnirError(faults)
        return found

    def outputs(self, program: Program) -> list[tuple[str, Operand]]:
        """Return the results that depend on the input or the state.

        Raises:
            SnnirError: SNN803 if none does.
        """
        found: list[tuple[str, Operand]] = []
        for name, node in zip(program.names.outputs, program.outputs, strict=True):
            value = self.values[self.nodes[node]]
            if isinstance(value, Stream):
                found.append((name, value.name))
        if not found:
            raise error("SNN803", "no output depends on the input or the state")
        return found


def _array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    kind = {"f": np.float32, "b": np.bool_}.get(array.dtype.kind, np.int32)
    return np.array(array, kind)
