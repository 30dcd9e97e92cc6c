"""Recurrences as C: the nodes of a loop, step by step, forward and backward.

Only what a loop is usually made of is written: neurons in float32, delays of whole populations,
linear layers, sums, factors and biases. A loop with anything else runs in plain torch.

Forward, one sample runs after the other, and linear layers are sums over events. Backward, where
gradients are dense, GROUP samples go together and share the weights they read. Of a step, neurons
keep what their gradient needs (`snnir.dynamics.kept`), and inputs of linear layers are found again
among the values of the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.c_source import c_operand, c_statements
from snnir.dynamics.program import Dynamics
from snnir.dynamics.surrogate import Surrogate
from snnir.network import Loop, Unit
from snnir.targets.torch_sim.c_loop_text import BACKWARD
from snnir.targets.torch_sim.c_loop_writer import LoopWriter, copied, lanes, padded
from snnir.targets.torch_sim.c_text import filled


@dataclass(frozen=True)
class LoopSource:
    """A loop as the runtime calls it, and its C functions."""

    loop: Loop
    source: str


def loop_source(
    name: str, units: Sequence[Unit], shapes: Mapping[str, tuple[int, ...]],
    programs: Mapping[str, Dynamics], surrogate: Surrogate, detach: bool | str,
) -> LoopSource | None:  # fmt: skip
    """Return a loop in C, or None if a node in it has no C form.

    Args:
        name: Identifier of the functions.
        units: The nodes in dataflow order.
        shapes: Shape of one sample of every value.
        programs: Step programs by the name of their functions.
        surrogate: What stands for the derivative of a spike.
        detach: Whether resets count as constants.
    """
    if not all(_fits(unit, programs) for unit in units):
        return None
    writer = BackwardWriter(name, units, shapes, programs, surrogate, detach)
    return LoopSource(writer.loop(), writer.forward() + writer.backward())


def _fits(unit: Unit, programs: Mapping[str, Dynamics]) -> bool:
    if unit.kind == "neuron":
        program = programs[unit.function]
        return program.dtype == "f32" and not program.is_pooling
    if unit.kind == "delay":
        return "steps" not in unit.tensors and unit.steps > 0
    if unit.kind != "op":
        return False
    if unit.function == "linear":
        return len(unit.shape) == 1 and "zero" not in unit.tensors
    return unit.function in ("add", "scale", "offset", "identity", "reshape")


class BackwardWriter(LoopWriter):
    """Writes the function that goes back through time."""

    def found(self, value: str) -> list[str]:
        """Return the pointer `x` to the elements of a value for sample s."""
        source, delay = self.origin(value)
        size = self.size(source)
        array = (
            f"in[{self.outside.index(source)}]"
            if source in self.outside
            else f"value[{self.values.index(source)}]"
        )
        if delay is None:
            return [f"const float *x = {array} + (row + s) * {size};"]
        place = f"line[{self.delays.index(delay)}] + (row + s) * {size}"
        late = f"{array} + (row + s - {delay.steps} * batch) * {size}"
        return [f"const float *x = t < {delay.steps} ? {place} : {late};"]

    def backward(self) -> str:
        """Return the function that runs the loop backwards."""
        room = [(self.buffer(v, "g"), padded(self.size(v))) for v in (*self.values, *self.outside)]
        room += [
            (f"ring{i}", d.steps * padded(self.size(d.name))) for i, d in enumerate(self.delays)
        ]
        room.append(("sums", max(padded(self.size(v)) for v in (*self.values, *self.outside))))
        start = [
            *(f"memset({self.at(v)}, 0, {self.size(v)} * sizeof(float));" for v in self.outside),
            *(
                f"if (g_out[{i}]) {copied(self.at(v), f'g_out[{i}] + (row + s) * {n}', n)}\n"
                f"else memset({self.at(v)}, 0, {n} * sizeof(float));"
                for i, v in enumerate(self.values)
                for n in (self.size(v),)
            ),
            *(
                f"for (int64_t i = 0; i < {self.size(d.name)}; i++) "
                f"({self.at(d.operands[0])})[i] += ({self.slot(i, f't % {d.steps}')})[i];"
                for i, d in enumerate(self.delays)
            ),
        ]
        end = [
            *(
                copied(self.slot(i, f"t % {d.steps}"), self.at(d.name), self.size(d.name))
                for i, d in enumerate(self.delays)
            ),
            *(
                copied(f"g_in[{i}] + (row + s) * {self.size(v)}", self.at(v), self.size(v))
                for i, v in enumerate(self.outside)
            ),
        ]
        parts = {
            **self.parts(room, " * GROUP"), "start": start, "end": end,
            "back": [line for unit in reversed(self.units) for line in self.step_back(unit)],
            "load": self.rings_back("load"), "store": self.rings_back("store"),
        }  # fmt: skip
        return filled(self.named(BACKWARD, room), parts)

    def at(self, value: str) -> str:
        """Return the gradient of a value for sample s."""
        return f"{self.buffer(value, 'g')} + s * {padded(self.size(value))}"

    def slot(self, delay: int, place: str) -> str:
        """Return a place of a delay's ring for sample s."""
        d = self.delays[delay]
        return f"ring{delay} + (s * {d.steps} + {place}) * {padded(self.size(d.name))}"

    def rings_back(self, what: str) -> list[str]:
        """Return how the gradients of delay lines become rings or come from them.

        The slot of step t holds the gradient of what the delay takes in then. The line after the
        last step holds what was taken in at the last `steps` steps; that before the first step is
        what steps 0 to `steps` - 1 gave.
        """
        lines = []
        for i, d in enumerate(self.delays):
            size = self.size(d.name)
            held = f"g_line[{i}] + (j * batch + b + s) * {size}"
            slot = self.slot(i, f"(time + j) % {d.steps}" if what == "load" else "j")
            pair = (slot, held) if what == "load" else (held, slot)
            lines.append(f"for (int64_t j = 0; j < {d.steps}; j++) {copied(*pair, size)}")
        return lines

    def step_back(self, unit: Unit) -> list[str]:
        """Return the gradient of one node for all samples of a group."""
        if unit.kind == "delay" or unit.results[0] in self.alias:
            return []
        lines = [self.comment(unit)]
        if unit.kind == "op" and unit.function == "linear":
            return [*lines, *self.linear_back(unit)]
        if unit.kind == "neuron":
            return [*lines, *each_sample(self.neuron_back(unit))]
        size, g = self.size(unit.results[0]), self.element(unit.results[0])
        each = f"for (int64_t i = 0; i < {size}; i++)"
        gs = [self.element(name) for name in unit.operands]
        if unit.function == "add":
            return [*lines, *each_sample([f"{each} {to} += {g};" for to in gs])]
        if unit.function == "scale":
            k = self.number(unit, "factor")
            body = [
                f"{each} {gs[0]} += w{k}[i] * {g};", *self.found(unit.operands[0]),
                f"if (g_tensor[{k}]) {each} g_tensor[{k}][i] += x[i] * {g};",
            ]  # fmt: skip
        else:
            k = self.number(unit, "bias")
            body = [
                f"{each} {gs[0]} += {g};",
                f"if (g_tensor[{k}]) {each} g_tensor[{k}][i] += {g};",
            ]
        return [*lines, *each_sample(body)]

    def element(self, value: str) -> str:
        """Return element i of the gradient of a value for sample s."""
        return f"{self.buffer(value, 'g')}[s * {padded(self.size(value))} + i]"

    def linear_back(self, unit: Unit) -> list[str]:
        """Return the gradients of a linear layer's input, weights and bias."""
        size, width = self.size(unit.results[0]), self.size(unit.operands[0])
        g, to = self.buffer(unit.results[0], "g"), self.buffer(unit.operands[0], "g")
        own, others = padded(size), padded(width)
        k = self.number(unit, "weight")
        wide, turned = lanes(size), lanes(width)
        table = f"turned[{k}], {-(-width // (16 * turned))}, {size}"
        lines = [
            "n = 0;",
            f"for (int64_t s = 0; s < samples; s++) n += snn_count({g} + s * {own}, {size});",
            f"if (4 * n > samples * {size})",
            f"    snn_share_{turned}({table}, {g}, {own}, samples, {to}, {others});",
            "else",
            *(f"    {line}" for line in each_sample([
                f"n = snn_list({g} + s * {own}, {size}, index, amount);",
                f"snn_sum_{turned}({table}, index, amount, n, sums);",
                f"for (int64_t i = 0; i < {width}; i++) {to}[s * {others} + i] += sums[i];",
            ])),
            f"if (g_tensor[{k}])",
            *(f"    {line}" for line in each_sample([
                *self.found(unit.operands[0]),
                f"n = snn_list(x, {width}, index, amount);",
                f"snn_spread_{wide}(g_tensor[{k}], {-(-size // (16 * wide))}, {width}, index, "
                f"amount, n, {g} + s * {own});",
            ])),
        ]  # fmt: skip
        if "bias" in unit.tensors:
            j = self.number(unit, "bias")
            lines += [
                f"if (g_tensor[{j}])",
                *(f"    {line}" for line in each_sample([
                    f"for (int64_t i = 0; i < {size}; i++) g_tensor[{j}][i] += {g}[s * {own} + i];"
                ])),
            ]  # fmt: skip
        return lines

    def neuron_back(self, unit: Unit) -> list[str]:
        """Return the gradient of a population's step for sample s."""
        program, size = self.programs[unit.name], self.size(unit.name)
        made = adjoint(program, self.surrogate, self.detach)
        states = [self.states.index((unit.name, key)) for key in unit.initial]
        names = [state.name for state in program.states]
        given = [
            *self.params(unit),
            *(
                f"const float {name} = {self.element(result)};"
                for name, result in zip(made.outputs, unit.results, strict=True)
            ),
            *(
                f"const float {made.updates[name]} = d{k}[i];"
                for k, name in zip(states, names, strict=True)
            ),
        ]
        store = [
            *(
                f"{self.element(operand)} += {c_operand(made.inputs[name], 'float')};"
                for name, operand in zip(program.inputs, unit.operands, strict=True)
            ),
            *(
                f"d{k}[i] = {c_operand(made.states[name], 'float')};"
                for k, name in zip(states, names, strict=True)
            ),
        ]
        numbers = [self.number(unit, key) for key in self.own_params(unit)]
        sums = [
            f"g_tensor[{k}][i] += {c_operand(made.params[name], 'float')};"
            for k, (name, _) in zip(numbers, program.params, strict=True)
        ]
        short = self.own_kept(unit, False)
        (_, of_inputs), (_, of_all) = self.gradients[unit.name]
        cases = [("", short, of_inputs, store)]
        if numbers:  # parameters are trained all together or not at all
            whole = [*short, *self.own_kept(unit, True)]
            trained = f"if (g_tensor[{numbers[0]}])"
            cases.insert(0, (trained, whole, of_all, [*store, *sums]))
        lines = [f"float *restrict d{k} = g_state[{k}] + (b + s) * {size};" for k in states]
        for index, (condition, kept, gradient, results) in enumerate(cases):
            lines += [
                f"{'else ' if index else ''}{condition} {{",
                *(
                    f"    const float *h{k} = kept[{k}] + ((b + s) * time + t) * {size};"
                    for k, _ in kept
                ),
                f"    for (int64_t i = 0; i < {size}; i++) {{",
                *(f"        const float {name} = h{k}[i];" for k, name in kept),
                *(f"        {line}" for line in (*given, *c_statements(gradient), *results)),
                "    }",
                "}",
            ]
        return lines


def each_sample(lines: list[str]) -> list[str]:
    """Return statements for every sample of a group."""
    return ["for (int64_t s = 0; s < samples; s++) {", *(f"    {line}" for line in lines), "}"]
