"""Step programs of clusters of elementwise equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.dynamics.program import Dynamics, Let, Operand, State
from snnir.frontends.step_functions.paths import identifier, unique
from snnir.frontends.step_functions.traced import Array, Equation, Leaf, Traced
from snnir.streams import Kind
from snnir.tensors import FrozenDict, Tensor


@dataclass(frozen=True)
class Cluster:
    """Equations that become one program.

    Attributes:
        equations: In order of flow.
        leaves: States that live in the program.
        inputs: Names of streams it reads, in order.
        outputs: Names of streams that others read, in order.
    """

    equations: tuple[Equation, ...]
    leaves: tuple[Leaf, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the population."""
        return self.equations[0].shape if self.equations else self.leaves[0].shape


@dataclass(frozen=True)
class Program:
    """A program and its parameters.

    Attributes:
        dynamics: The program.
        params: Tensors by parameter.
        states: Name of the state in the program by leaf.
    """

    dynamics: Dynamics
    params: FrozenDict[Tensor]
    states: Mapping[str, str]


#: Words that printed programs use themselves.
_WORDS = frozenset(
    (
        "acc", "char", "const", "do", "double", "dtype", "enum", "extern", "float", "fma", "full",
        "goto", "int", "jax", "jnp", "kind", "long", "main", "math", "np", "register", "restrict",
        "short", "signed", "sizeof", "state", "static", "struct", "switch", "tl", "torch",
        "typedef", "union", "unsigned", "void", "volatile", "xp",
    )
)  # fmt: skip


@dataclass
class _Names:
    """Names in one program, each taken once."""

    taken: list[str] = field(default_factory=list)

    def new(self, stem: str) -> str:
        word = identifier(stem, "x")
        (name,) = unique([f"{word}_" if word in _WORDS else word], self.taken)
        self.taken.append(name)
        return name


def literal(value: float) -> float:
    """Return a float32 number in its shortest decimal form."""
    return float(str(np.float32(value)))


def program_of(
    cluster: Cluster, traced: Traced, kinds: Mapping[str, Kind], name: str, unused: int = 0
) -> Program:
    """Return the program of a cluster.

    Args:
        cluster: Its equations.
        traced: The step they are of.
        kinds: What every stream carries.
        name: Name of the model.
        unused: Inputs to add that it does not read: a program needs one.
    """
    return _Writer(cluster, traced, kinds).program(name, unused)


class _Writer:
    """One program in the making."""

    def __init__(self, cluster: Cluster, traced: Traced, kinds: Mapping[str, Kind]) -> None:
        self.cluster, self.traced, self.kinds = cluster, traced, kinds
        self.names = _Names()
        self.types = traced.types()
        self.env: dict[str, str] = {}
        self.body: list[Let] = []
        self.params: dict[str, Tensor] = {}
        self.states: dict[str, str] = {}

    def program(self, name: str, unused: int) -> Program:
        cluster = self.cluster
        stems = state_names(cluster.leaves)
        for leaf, stem in zip(cluster.leaves, stems, strict=True):
            self.states[leaf.name] = self.env[leaf.name] = self.names.new(stem)
        single = len(cluster.inputs) == 1
        inputs = [
            self.names.new("x" if single else f"x{i + 1}") for i in range(len(cluster.inputs))
        ]
        self.env.update(zip(cluster.inputs, inputs, strict=True))
        inputs += [self.names.new("unused") for _ in range(unused)]
        for source in (*cluster.inputs, *(leaf.name for leaf in cluster.leaves)):
            if self.types[source][1] == "bool":
                self.env[source] = self._let("truth", "gt", (self.env[source], 0.0))
        states = tuple(self._state(leaf) for leaf in cluster.leaves)
        for equation in cluster.equations:
            self._equation(equation)
        updates = tuple((self.states[leaf.name], self._update(leaf)) for leaf in cluster.leaves)
        outputs = tuple((self._number(n), self.kinds[n]) for n in cluster.outputs)
        program = Dynamics(
            name=identifier(name, "program"),
            inputs=tuple(inputs),
            params=tuple((param, "1") for param in self.params),
            states=states,
            body=tuple(self.body),
            updates=updates,
            outputs=outputs,
        )
        program.types()
        return Program(program, FrozenDict(self.params), self.states)

    def _let(self, stem: str, op: str, args: tuple[Operand, ...]) -> str:
        target = self.names.new(stem)
        self.body.append(Let(target, op, args))
        return target

    def _state(self, leaf: Leaf) -> State:
        values = leaf.initial.astype(np.float32)
        name = self.states[leaf.name]
        if not values.size or (values == values.reshape(-1)[0]).all():
            return State(name, literal(values.reshape(-1)[0]))
        return State(name, self._param(f"{name}_start", values))

    def _param(self, stem: str, values: Array) -> str:
        name = self.names.new(stem)
        self.params[name] = Tensor(np.array(values, np.float32))
        return name

    def _equation(self, equation: Equation) -> None:
        wanted = ["float"] * len(equation.operands)
        if equation.op in ("and", "or", "not", "cast"):
            wanted = ["bool"] * len(equation.operands)
        elif equation.op == "select":
            wanted[0] = "bool"
        args = tuple(
            self._argument(operand, kind)
            for operand, kind in zip(equation.operands, wanted, strict=True)
        )
        self.env[equation.result] = self._let(self._stem(equation), equation.op, args)

    def _stem(self, equation: Equation) -> str:
        for leaf in self.cluster.leaves:
            if leaf.new == equation.result:
                return f"{self.states[leaf.name]}_new"
        if equation.op == "cast" and equation.result in self.cluster.outputs:
            return "spike"
        return "t"

    def _argument(self, operand: str | float, wanted: str) -> Operand:
        if not isinstance(operand, str):
            return literal(operand)
        if operand not in self.env:
            self.env[operand] = self._constant(operand, wanted)
        return self.env[operand]

    def _constant(self, name: str, wanted: str) -> str:
        label = self.traced.labels.get(name, "")
        stem = identifier(label.rpartition(".")[2], "k") if label else "k"
        values = self.traced.constants[name]
        param = self._param(stem, values)
        return self._let("mask", "gt", (param, 0.0)) if wanted == "bool" else param

    def _update(self, leaf: Leaf) -> Operand:
        if not isinstance(leaf.new, str):
            return literal(leaf.new)
        if leaf.new not in self.env:
            self.env[leaf.new] = self._constant(leaf.new, "float")
            return self.env[leaf.new]
        return self._number(leaf.new)

    def _number(self, name: str) -> str:
        """Return a value as a number, 0 or 1 for a truth value."""
        is_truth = self.types[name][1] == "bool" and name not in self.traced.constants
        if not is_truth:
            return self.env[name]
        key = f"{name} as a number"
        if key not in self.env:
            self.env[key] = self._let("spike", "cast", (self.env[name],))
        return self.env[key]


def state_names(leaves: Sequence[Leaf]) -> list[str]:
    """Return short names of states: the last part of the path where that is a word."""
    return unique([_last(leaf.path, leaf.name) for leaf in leaves])


def _last(path: str, name: str) -> str:
    last = path.rpartition(".")[2]
    if last.isidentifier():
        return last
    return f"v{name.removeprefix('state')}" if name.startswith("state") else name


def node_stem(leaves: Sequence[Leaf]) -> str:
    """Return the name of a population with these states: their module, or what paths share."""
    scopes = {leaf.scope for leaf in leaves}
    if len(scopes) == 1 and "" not in scopes:
        return scopes.pop()
    parts = [leaf.path.split(".")[:-1] if "." in leaf.path else [] for leaf in leaves]
    common: list[str] = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        common.append(column[0])
    text = ".".join(common)
    return f"neuron_{text}" if text[:1].isdigit() else text or "neuron"
