"""What outlives a run: weights that learn, thresholds that adapt, counters of random numbers.

Such states are called `node:state`. A run gives them in `Result.lasting` and takes them up again
with `run(..., lasting=...)`; a graph holds those it starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.program import Dynamics, Operand, State
from snnir.errors import error, shown
from snnir.ir.graph import Graph
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.plastic import Plastic
from snnir.ir.random import Uniform
from snnir.streams import DTYPES
from snnir.suggest import hint
from snnir.tensors import FrozenDict, Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Lasting:
    """One state that outlives a run.

    Attributes:
        shape: Its shape; no axis for samples.
        dtype: Its element type in programs of float32, as NumPy names it; its values fit that.
    """

    shape: tuple[int, ...]
    dtype: str


#: The number of the next step of random numbers.
COUNTER = Lasting((), "uint32")


def lasting_states(graph: Graph) -> dict[str, Lasting]:
    """Return every state of a graph that outlives a run, by `node:state`, in graph order."""
    found = {}
    for node in graph.nodes.values():
        if isinstance(node.op, Uniform):
            found[f"{node.name}:step"] = COUNTER
            continue
        program = learning_program(node.op)
        if program is None or not program.lasting:
            continue
        shape = node.op.shape if isinstance(node.op, Plastic) else graph.signal(node.name).shape
        for state in program.states:
            if state.lasting:
                found[f"{node.name}:{state.name}"] = Lasting(shape, DTYPES[program.dtype])
    return found


def lasting_table(graph: Graph) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and element type of what outlives a run, as emitted programs have it."""
    return {name: (state.shape, state.dtype) for name, state in lasting_states(graph).items()}


def learning_program(op: Op) -> Dynamics | None:
    """Return the step program or rule of an op, if it has one."""
    if isinstance(op, Plastic):
        return op.rule
    return op.program if isinstance(op, Step) else None


def check_lasting(
    graph: Graph, given: Mapping[str, npt.ArrayLike] | None, *, resume: bool = False
) -> dict[str, Array]:
    """Return what a run goes on from, checked; what is not given starts as the graph has it.

    Raises:
        SnnirError: SNN601 for a name that is none, a wrong shape, a value that is not a number, or
            a run that is to resume another one besides.
    """
    if given is None:
        return {}
    if resume:
        raise error("SNN601", "a run either resumes the last one or takes what lasts, not both")
    return check_known(lasting_states(graph), given)


def check_known(
    known: Mapping[str, Lasting], given: Mapping[str, npt.ArrayLike]
) -> dict[str, Array]:
    """Return what a run goes on from, checked against the states that there are.

    Raises:
        SnnirError: SNN601 for a name that is none, a wrong shape, a value that is not a number.
    """
    checked = {}
    for name, value in given.items():
        if name not in known:
            meant = hint(name, known, "what lasts is") if known else "nothing lasts here"
            raise error("SNN601", f"there is no lasting state '{shown(name)}'", hint=meant)
        checked[name] = _checked(name, np.asarray(value), known[name])
    return checked


def _checked(name: str, array: Array, wanted: Lasting) -> Array:
    if array.dtype.kind not in "fiu" or array.shape != wanted.shape:
        got = f"{array.dtype} {list(array.shape)}"
        raise error("SNN601", f"lasting state '{name}' must be {list(wanted.shape)}, got {got}")
    is_whole = np.dtype(wanted.dtype).kind in "iu"
    with np.errstate(over="ignore"):
        finite = np.isfinite(array if is_whole else array.astype(wanted.dtype)).all()
    if not finite:
        raise error("SNN601", f"lasting state '{name}' contains NaN or infinity")
    if is_whole:
        ends = np.iinfo(wanted.dtype)
        # In a narrow type the ends would be rounded to what is outside of them.
        wide = array.astype(np.float64) if array.dtype.kind == "f" else array
        whole = (wide == np.rint(wide)) & (wide >= ends.min) & (wide <= ends.max)
        if not whole.all():
            limits = f"from {ends.min} to {ends.max}"
            raise error("SNN601", f"lasting state '{name}' must be whole, {limits}")
    return array


def with_lasting(graph: Graph, lasting: Mapping[str, npt.ArrayLike]) -> Graph:
    """Return a graph that starts from what lasted of a run.

    Args:
        graph: The graph that was run, or one with the same nodes.
        lasting: `Result.lasting`, or some of it.

    Raises:
        SnnirError: SNN601 for a name that is no lasting state of the graph, or a wrong shape.
    """
    editor = graph.edit()
    for name, value in check_lasting(graph, lasting).items():
        node, _, state = name.rpartition(":")
        editor.set_op(node, _started(editor.nodes[node].op, state, value))
    return editor.graph()


def _started(op: Op, state: str, value: Array) -> Op:
    """Return an op one of whose lasting states starts from other values."""
    if isinstance(op, Uniform):
        return replace(op, step=int(value))
    assert isinstance(op, (Step, Plastic))
    program = op.rule if isinstance(op, Plastic) else op.program
    old = next(s for s in program.states if s.name == state)
    program, name = _parameter(program, old)
    array = value.astype(DTYPES[program.dtype])
    params = FrozenDict({**op.params, name: Tensor(array)})
    if isinstance(op, Plastic):
        return replace(op, rule=program, params=params)
    return replace(op, dynamics=program, params=params)


def _parameter(program: Dynamics, state: State) -> tuple[Dynamics, str]:
    """Return the program with a parameter that only says where the state starts, and its name."""
    read: set[Operand] = {arg for let in program.body for arg in let.args}
    read |= {value for _, value in program.updates} | {name for name, _ in program.outputs}
    read |= {other.initial for other in program.states if other is not state}
    if isinstance(state.initial, str) and state.initial not in read:
        return program, state.initial
    taken = {*program.types(), *(name for name, _ in program.params)}
    name = f"{state.name}_start"
    while name in taken:
        name += "_"
    states = tuple(replace(s, initial=name) if s is state else s for s in program.states)
    return replace(program, params=(*program.params, (name, "1")), states=states), name


def is_lasting(op: Op) -> bool:
    """Whether an op has states that outlive a run, which have names and shapes of their own."""
    program = learning_program(op)
    return isinstance(op, Uniform) or (program is not None and bool(program.lasting))


def is_learning(op: Op) -> bool:
    """Whether an op has learned states, or joins the samples of a batch."""
    program = learning_program(op)
    return isinstance(op, Plastic) or (program is not None and program.is_pooling)
