"""Step programs: straight-line scalar code with a fixed evaluation order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from snnir.dynamics.scalar import SCALAR_OPS, WHOLE_OPS
from snnir.errors import Diagnostic, SnnirError
from snnir.streams import Kind

#: A name defined earlier in the program, or a literal.
Operand = str | float


@dataclass(frozen=True)
class Let:
    """``target = op(*args)``: one operation, rounded once."""

    target: str
    op: str
    args: tuple[Operand, ...]


@dataclass(frozen=True)
class State:
    """A variable kept from step to step.

    Attributes:
        name: Its name.
        initial: Its value before the first step: a number, or the name of a parameter.
        lasting: It belongs to the network, not to a sample: all samples of a batch share it, and
            it outlives a run, as what was learned does. Its new value may depend on samples only
            through `batch_sum`.
    """

    name: str
    initial: Operand = 0.0
    lasting: bool = False


@dataclass(frozen=True)
class Dynamics:
    """One step of a neuron or synapse model over scalars.

    A program reads its inputs, parameters and the states as the previous step left them, runs
    `body` from top to bottom, then stores `updates` and yields `outputs`. Which values round,
    and in which order, is part of the meaning.

    Attributes:
        name: Name of the model.
        inputs: Names of the inputs.
        params: Names of the parameters, with their units ("1" if dimensionless).
        states: The state variables.
        body: The operations in order; every target is defined once.
        updates: New value of every state, by state name.
        outputs: (name in the program, kind) of each result.
        dtype: Element type in which everything is computed: `f32`, or `f64` where integers
            beyond 2**24 must stay exact, or `i32` or `i64`: then every value is a whole number
            that fits, and only operations that keep it so are allowed.
    """

    name: str
    inputs: tuple[str, ...]
    params: tuple[tuple[str, str], ...]
    states: tuple[State, ...]
    body: tuple[Let, ...]
    updates: tuple[tuple[str, Operand], ...]
    outputs: tuple[tuple[str, Kind], ...]
    dtype: str = "f32"

    @property
    def is_whole(self) -> bool:
        """Whether the program computes with integers."""
        return self.dtype.startswith("i")

    @property
    def is_fused(self) -> bool:
        """Whether some product and sum are rounded together."""
        return any(let.op == "fma" for let in self.body)

    @property
    def lasting(self) -> tuple[str, ...]:
        """Names of the states that all samples share and that outlive a run, in order."""
        return tuple(state.name for state in self.states if state.lasting)

    @property
    def is_pooling(self) -> bool:
        """Whether the samples of a batch depend on each other."""
        return bool(self.lasting) or any(let.op == "batch_sum" for let in self.body)

    def types(self) -> Mapping[str, str]:
        """Return `float` or `bool` for every name.

        Raises:
            SnnirError: SNN201 for an undefined or redefined name, an unknown operation, a wrong
                number or type of operands, a state that is not updated, or a lasting state whose
                new value differs from sample to sample.
        """
        return _Checker(self).run()


def only(program: Dynamics, results: Iterable[Operand], given: Collection[str] = ()) -> Dynamics:
    """Return a program without the operations that the results do not need.

    Args:
        program: The program.
        results: What is needed of it.
        given: Values that are known and need not be computed.
    """
    needed = {name for name in results if isinstance(name, str)}
    kept = []
    for let in reversed(program.body):
        if let.target in needed and let.target not in given:
            kept.append(let)
            needed |= {arg for arg in let.args if isinstance(arg, str)}
    return replace(program, body=tuple(reversed(kept)))


def _is_shift(arg: Operand) -> bool:
    return not isinstance(arg, str) and arg in range(63)


class _Checker:
    """Collects every fault of a program."""

    def __init__(self, program: Dynamics) -> None:
        self.program = program
        self.types: dict[str, str] = {}
        self.problems: list[str] = []
        states = [state.name for state in program.states if not state.lasting]
        self.per_sample = {*program.inputs, *states}

    def run(self) -> Mapping[str, str]:
        program = self.program
        names = [
            *program.inputs,
            *(p for p, _ in program.params),
            *(s.name for s in program.states),
        ]
        for name in names:
            self.define(name, "float")
        params = {name for name, _ in program.params}
        for state in program.states:
            if isinstance(state.initial, str) and state.initial not in params:
                self.problems.append(f"state {state.name} starts at unknown '{state.initial}'")
        for let in program.body:
            self.check(let)
        self.check_ends()
        if self.problems:
            raise SnnirError(
                Diagnostic("SNN201", f"dynamics {program.name}: {problem}")
                for problem in self.problems
            )
        return self.types

    def define(self, name: str, kind: str) -> None:
        if not name.isidentifier():
            self.problems.append(f"'{name}' is not an identifier")
        if name in self.types:
            self.problems.append(f"'{name}' is defined twice")
        self.types[name] = kind

    def check(self, let: Let) -> None:
        op = SCALAR_OPS.get(let.op)
        if op is None:
            self.problems.append(f"unknown operation '{let.op}'")
            self.define(let.target, "float")
            return
        if self.program.is_whole and let.op not in WHOLE_OPS:
            self.problems.append(f"{let.op} is not defined on integers")
        if op.whole and not self.program.is_whole:
            self.problems.append(f"{let.op} is defined on integers only")
        if let.op == "shr" and not _is_shift(let.args[-1]):
            self.problems.append("shr takes a literal from 0 to 62")
        if len(let.args) != op.arity:
            self.problems.append(f"{let.op} takes {op.arity} operands, got {len(let.args)}")
        for index, arg in enumerate(let.args):
            wanted = "bool" if let.op == "select" and index == 0 else op.takes
            self.want(arg, wanted, let.target)
        self.define(let.target, op.gives)
        self.follow_samples(let)

    def follow_samples(self, let: Let) -> None:
        """Note whether a value differs from sample to sample."""
        varies = any(arg in self.per_sample for arg in let.args if isinstance(arg, str))
        if let.op == "batch_sum" and not varies:
            self.problems.append(f"'{let.target}' sums what is the same for all samples")
        elif varies and let.op != "batch_sum":
            self.per_sample.add(let.target)

    def want(self, arg: Operand, wanted: str, target: str) -> None:
        found = self.types.get(arg) if isinstance(arg, str) else "float"
        if self.program.is_whole and not isinstance(arg, str) and arg % 1 != 0:
            self.problems.append(f"'{target}' uses {arg} where a whole number is needed")
        if found is None:
            self.problems.append(f"'{target}' uses '{arg}', which is not defined before it")
        elif found != wanted:
            self.problems.append(f"'{target}' uses {found} '{arg}' where a {wanted} is needed")

    def check_ends(self) -> None:
        updated = [name for name, _ in self.program.updates]
        states = [state.name for state in self.program.states]
        if sorted(updated) != sorted(states):
            self.problems.append(f"updates {updated} where the states are {states}")
        for name, value in self.program.updates:
            self.want(value, "float", f"new {name}")
            if name in self.program.lasting and value in self.per_sample:
                self.problems.append(
                    f"lasting state {name} becomes '{value}', which differs from sample to sample "
                    "(see batch_sum)"
                )
        for name, _ in self.program.outputs:
            self.want(name, "float", "output")
