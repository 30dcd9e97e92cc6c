"""Generated neuron classes: any step program as a cell of a framework.

The forward value is the program's, operation by operation; where a comparison becomes a spike,
the framework's surrogate function gives the gradient.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics, Let
from snnir.dynamics.record import dynamics_record
from snnir.dynamics.source import Expressions
from snnir.dynamics.whole import as_float
from snnir.errors import error
from snnir.ir.neuron import Step
from snnir.targets.torch_nets.names import comment, indented, literal, number


@dataclass(frozen=True)
class Flavour:
    """How a framework writes a neuron class.

    Attributes:
        framework: Its name.
        base: The class generated cells derive from.
        soft: The surrogate of a comparison of `{0}` with `{1}`, a torch expression.
        settings: Lines of `__init__` after `super().__init__(...)`.
        arguments: Arguments of `super().__init__`.
        keeps_state: Whether cells keep their state in the module.
    """

    framework: str
    base: str
    soft: str
    settings: tuple[str, ...] = ()
    arguments: str = ""
    keeps_state: bool = False


def check_cell(op: Step) -> None:
    """Raise unless a cell can be written: its further outputs must be states.

    Raises:
        SnnirError: SNN501.
    """
    program = as_float(op.program)
    updates = {str(value) for _, value in program.updates}
    if any(name not in updates for name, _ in program.outputs[1:]):
        raise error("SNN501", "has outputs that are neither its spikes nor a state")
    if not program.outputs:
        raise error("SNN501", "has no output")


def exposed_states(program: Dynamics) -> list[str]:
    """Return the states that are outputs after the first, by result number minus one."""
    owner = {str(value): name for name, value in program.updates}
    return [owner[name] for name, _ in program.outputs[1:]]


class CellWriter:
    """Writes one class."""

    def __init__(self, op: Step, name: str, flavour: Flavour) -> None:
        self.op, self.name, self.flavour = op, name, flavour
        self.program = as_float(op.program)
        self.states = [state.name for state in self.program.states]

    def source(self) -> list[str]:
        """Return the lines of the class."""
        lines = [
            f"class {self.name}({self.flavour.base}):",
            f'    """{self.title()}"""',
            "",
            "    # The step program, for snnir to read back.",
            f"    SNNIR_STEP = {self.mark()}",
            "",
        ]
        return [*lines, *self.init(), "", *self.step(), "", *self.calls()]

    def title(self) -> str:
        """Return what the neuron is, in a line."""
        dynamics = self.op.dynamics
        if isinstance(dynamics, LifStep):
            rules = ", ".join(f"{k}={v}" for k, v in dynamics.attributes().items())
            text = f"Leaky integrate-and-fire step: {rules or 'the defaults'}."
            return "\n    ".join(textwrap.wrap(text, 92))
        return f"One step of {comment(self.program.name)}."

    def mark(self) -> str:
        """Return the step as a JSON text literal."""
        states = () if self.flavour.keeps_state else tuple(self.states)
        record = {
            "framework": self.flavour.framework,
            "inputs": len(self.program.inputs),
            "states": list(states),
            "extra": exposed_states(self.program) if self.flavour.keeps_state else [],
            "step": dynamics_record(self.op.dynamics),
        }
        return literal(json.dumps(record, sort_keys=True))

    def init(self) -> list[str]:
        """Return `__init__`: parameters are buffers, single numbers or one per neuron."""
        names = [name for name, _ in self.program.params]
        arguments = "".join(f", {name}" for name in names)
        body = [
            f"super().__init__({self.flavour.arguments})",
            *self.flavour.settings,
            *(
                f'self.register_buffer("{name}", torch.as_tensor({name}, dtype=torch.float32))'
                for name in names
            ),
        ]
        if self.flavour.keeps_state:
            body += self.memory()
        return indented([f"def __init__(self{arguments}):", *indented(body)])

    def memory(self) -> list[str]:
        """Return the lines that register the states a module keeps."""
        return ["self.states = None"]

    def initial(self) -> list[str]:
        """Return the initial value of every state as expressions."""
        values = []
        for state in self.program.states:
            start = state.initial
            zeros = f"torch.zeros_like({self.program.inputs[0]})"
            text = f"self.{start}" if isinstance(start, str) else number(start)
            values.append(f"{zeros} + {text}" if start else zeros)
        return values

    def step(self) -> list[str]:
        """Return the method that makes one step: inputs and states to output and states."""
        program = self.program
        inputs = ", ".join(program.inputs)
        head = f"def one_step(self, {inputs}, states=None):"
        kind = "torch.float64" if program.dtype == "f64" else "torch.float32"
        body = ['"""Return the output and the new states; without states, start at rest."""']
        body.append(f"kind = {kind}")
        if program.dtype == "f64":
            body += [f"{name} = {name}.to(kind)" for name in program.inputs]
        body += self.unpack()
        body += [f"{name} = self.{name}" for name, _ in program.params]
        body += self.statements()
        updates = dict(program.updates)
        new = ", ".join(self.operand(updates[name]) for name in self.states)
        output = program.outputs[0][0]
        if program.dtype == "f64":
            output = f"{output}.to(torch.float32)"
        body.append(f"return {output}, ({new}{',' if self.states else ''})")
        return indented([head, *indented(body)])

    def unpack(self) -> list[str]:
        """Return the lines that give every state a name, at rest if there are none."""
        if not self.states:
            return []
        names = ", ".join(self.states) + ","
        initial = ", ".join(self.initial()) + ","
        first = self.program.inputs[0]
        same = f"states[0].shape != {first}.shape"
        return [f"if not states or {same}:", f"    states = ({initial})", f"({names}) = states"]

    @staticmethod
    def operand(value: str | float) -> str:
        """Return a name, or a literal as a tensor."""
        return value if isinstance(value, str) else f"torch.tensor({number(value)})"

    def statements(self) -> list[str]:
        """Return the program's operations; spikes get their surrogate."""
        printer = Expressions(self.program, "torch", "torch.tensor({!r})", "{!r}")
        lets = {let.target: let for let in self.program.body}
        output = self.program.outputs[0][0]
        lines = []
        for let in self.program.body:
            compared = lets.get(str(let.args[0])) if let.op == "cast" else None
            if let.target == output and compared is not None and compared.op in ("gt", "ge"):
                lines += self.spike(printer, let, compared)
            elif let.op in ("trunc", "round") and self.program.dtype == "f32":
                lines += self.straight(printer, let)
            elif line := printer.statement(let):
                lines.append(line)
        return [line.replace("snn_fma(", "Fused.apply(") for line in lines]

    def spike(self, printer: Expressions, let: Let, compared: Let) -> list[str]:
        """Return the exact comparison with the gradient of the framework's surrogate."""
        fired = printer.expression(let)[0]
        a, b = (printer.argument(arg, 10, 0) for arg in compared.args)
        soft = self.flavour.soft.format(a, b)
        return [
            f"{let.target}_soft = {soft}",
            f"{let.target} = {fired} + ({let.target}_soft - {let.target}_soft.detach())",
        ]

    def straight(self, printer: Expressions, let: Let) -> list[str]:
        """Return a rounding through which gradients pass unchanged."""
        soft = f"{let.target}_soft"
        inner = printer.argument(let.args[0], 10, 0)
        rounded = printer.expression(Let(let.target, let.op, (soft,)))[0]
        return [
            f"{soft} = {inner}",
            f"{let.target} = {rounded} + ({soft} - {soft}.detach())",
        ]

    def calls(self) -> list[str]:
        """Return the methods by which the framework calls the cell."""
        raise NotImplementedError
