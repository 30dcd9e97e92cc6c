"""From the module of a step program to the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from snnir.dynamics.program import Dynamics, Let, Operand, State
from snnir.errors import SnnirError, shown
from snnir.mlir import tree
from snnir.mlir.attributes import WrongAttribute, wanted
from snnir.mlir.tree import Operation
from snnir.streams import Kind

_DTYPES = ("f32", "f64", "i32", "i64")


def program_of(module: Operation, source: str | None) -> Dynamics:
    """Return the step program of a module, checked.

    Raises:
        SnnirError: SNN102 for an operation that belongs to no program, SNN201 for a program that
            is not well formed.
    """
    return _Reader(source).read(module)


class _Reader:
    def __init__(self, source: str | None) -> None:
        self.source = source
        self.values: dict[str, Operand] = {}
        self.types: dict[str, str] = {}
        self.header: dict[str, Any] = {}
        self.inputs: list[str] = []
        self.params: list[tuple[str, str]] = []
        self.states: list[State] = []
        self.body: list[Let] = []
        self.updates: list[tuple[str, Operand]] = []
        self.outputs: list[tuple[str, Kind]] = []
        self.readers: dict[str, Callable[[Operation], None]] = {
            tree.PROGRAM: self.read_header,
            tree.PROGRAM_INPUT: self.read_input,
            tree.PROGRAM_PARAM: self.read_param,
            tree.PROGRAM_STATE: self.read_state,
            tree.PROGRAM_NEXT: self.read_next,
            tree.PROGRAM_EMIT: self.read_emit,
            tree.CONSTANT: self.read_constant,
        }

    def read(self, module: Operation) -> Dynamics:
        for operation in module.body:
            try:
                self.read_one(operation)
            except WrongAttribute as failure:
                message = f"{shown(operation.name)}: {failure}"
                raise operation.place.error("SNN201", message, self.source) from None
        try:
            return self.program()
        except WrongAttribute as failure:
            raise module.place.error("SNN201", str(failure), self.source) from None
        except SnnirError as failure:
            message = "; ".join(d.message for d in failure.diagnostics[:5])
            raise module.place.error("SNN201", message, self.source) from None

    def read_one(self, operation: Operation) -> None:
        read = self.readers.get(operation.name)
        if read is not None:
            read(operation)
        elif operation.name.startswith(tree.SCALAR):
            word = operation.name.removeprefix(tree.SCALAR)
            count = len(operation.operands)
            arguments = tuple(self.operand(operation, index) for index in range(count))
            self.body.append(Let(self.define(operation), word, arguments))
        else:
            message = f"'{shown(operation.name)}' is no operation of a step program"
            raise operation.place.error("SNN102", message, self.source)

    def program(self) -> Dynamics:
        if not self.header:
            raise WrongAttribute("the module of a program needs an operation snn.program")
        found = Dynamics(
            self.header["name"], tuple(self.inputs), tuple(self.params), tuple(self.states),
            tuple(self.body), tuple(self.updates), tuple(self.outputs), self.header["dtype"],
        )  # fmt: skip
        types = found.types()
        for name, stated in self.types.items():
            right = "i1" if types[name] == "bool" else found.dtype
            if stated != right:
                raise WrongAttribute(f"'{shown(name)}' is stated as {stated}, it is {right}")
        return found

    def define(self, operation: Operation) -> str:
        """Note the value an operation defines and return its name."""
        name = wanted(operation.attributes, "name", str)
        (kind,) = operation.types if len(operation.types) == 1 else ("",)
        if not isinstance(kind, str) or not kind or not operation.result:
            raise WrongAttribute("gives one scalar")
        if operation.result in self.values:
            raise WrongAttribute(f"%{shown(operation.result)} is defined twice")
        self.values[operation.result] = name
        self.types.setdefault(name, kind)
        return name

    def operand(self, operation: Operation, index: int = 0) -> Operand:
        """Return a name or number that was defined further up."""
        if index >= len(operation.operands):
            raise WrongAttribute("needs an operand")
        name, result = operation.operands[index]
        if name not in self.values or result:
            raise WrongAttribute(f"reads %{shown(name)}, which is not defined before it")
        return self.values[name]

    def read_header(self, operation: Operation) -> None:
        name = wanted(operation.attributes, "name", str)
        dtype = wanted(operation.attributes, "dtype", str)
        if dtype not in _DTYPES or self.header:
            raise WrongAttribute("needs dtype f32, f64, i32 or i64, and to be the only one")
        self.header = {"name": name, "dtype": dtype}

    def read_input(self, operation: Operation) -> None:
        self.inputs.append(self.define(operation))

    def read_param(self, operation: Operation) -> None:
        self.params.append((self.define(operation), wanted(operation.attributes, "unit", str)))

    def read_state(self, operation: Operation) -> None:
        initial = operation.attributes.get("initial")
        if not isinstance(initial, (str, float)):
            raise WrongAttribute("needs attribute 'initial', a float or the name of a parameter")
        lasting = operation.attributes.get("lasting", False)
        if not isinstance(lasting, bool):
            raise WrongAttribute("needs attribute 'lasting' to be true or false")
        self.states.append(State(self.define(operation), initial, lasting))

    def read_next(self, operation: Operation) -> None:
        name = wanted(operation.attributes, "state", str)
        self.updates.append((name, self.operand(operation)))

    def read_emit(self, operation: Operation) -> None:
        kind = wanted(operation.attributes, "kind", str)
        value = self.operand(operation)
        if kind not in [known.value for known in Kind] or not isinstance(value, str):
            raise WrongAttribute("emits a value that is not constant, as spikes, counts or analog")
        self.outputs.append((value, Kind(kind)))

    def read_constant(self, operation: Operation) -> None:
        value = wanted(operation.attributes, "value", float)
        if operation.result in self.values:
            raise WrongAttribute(f"%{shown(operation.result)} is defined twice")
        self.values[operation.result] = value
