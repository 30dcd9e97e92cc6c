"""Recurrences as C, forward: sample after sample; linear layers are sums over events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.c_source import c_names, c_operand, c_statements
from snnir.dynamics.kept import gradient_of
from snnir.dynamics.program import Dynamics
from snnir.dynamics.surrogate import Surrogate
from snnir.embedding import plain_text
from snnir.network import Loop, Unit
from snnir.targets.torch_sim.c_loop_text import FORWARD
from snnir.targets.torch_sim.c_text import filled

#: The values that are kept of a step, and the gradient from them.
Kept = tuple[tuple[str, ...], Dynamics]


def lanes(neurons: int) -> int:
    """Return how many vectors of 16 neurons are summed together."""
    return 1 if neurons <= 16 else 2 if neurons <= 32 else 4


def padded(size: int) -> int:
    """Return the room a population needs, so that whole vectors can be written."""
    return -(-size // 64) * 64


class LoopWriter:
    """Knows the nodes of one loop and writes its forward function."""

    def __init__(
        self, name: str, units: Sequence[Unit], shapes: Mapping[str, tuple[int, ...]],
        programs: Mapping[str, Dynamics], surrogate: Surrogate, detach: bool | str,
    ) -> None:  # fmt: skip
        self.name, self.shapes = name, shapes
        self.surrogate, self.detach = surrogate, detach
        self.units = list(units)
        self.programs = {
            unit.name: c_names(programs[unit.function]) for unit in units if unit.kind == "neuron"
        }
        self.delays = [unit for unit in units if unit.kind == "delay"]
        self.neurons = [unit for unit in units if unit.kind == "neuron"]
        self.alias = self._aliases()
        inside = {name for unit in units for name in unit.results}
        self.values = [name for name in inside_order(units) if self.alias.get(name, name) == name]
        outside = [name for unit in units for name in unit.operands if name not in inside]
        self.outside = list(dict.fromkeys(outside))
        self.states = [(u.name, key) for u in self.neurons for key in u.initial]
        self.tensors = [
            (unit.name, key) for unit in units for key in unit.tensors if unit.kind != "delay"
        ]
        self.gradients = {unit.name: self._gradients(unit) for unit in self.neurons}
        self.kept = [
            (name, value, index >= len(short))
            for name, ((short, _), (whole, _)) in self.gradients.items()
            for index, value in enumerate(whole)
        ]

    def _aliases(self) -> dict[str, str]:
        """Return the values that are others under a new name or shape."""
        found: dict[str, str] = {}
        for unit in self.units:
            if unit.kind == "op" and unit.function in ("identity", "reshape"):
                source = unit.operands[0]
                found[unit.results[0]] = found.get(source, source)
        return found

    def loop(self) -> Loop:
        """Return what the runtime needs to know."""
        return Loop(
            name=self.name,
            units=tuple(unit.name for unit in self.units),
            values=tuple(self.values),
            aliases=dict(self.alias),
            outside=tuple(self.outside),
            states=tuple(self.states),
            delays=tuple((unit.name, unit.steps) for unit in self.delays),
            tensors=tuple(self.tensors),
            kept=tuple((name, trained) for name, _, trained in self.kept),
            needed=tuple(v for v in self.values if v in self.needed()),
        )

    # --- Names ---

    def size(self, value: str) -> int:
        """Return the elements of one sample of a value."""
        return prod(self.shapes[value])

    def buffer(self, value: str, prefix: str = "u") -> str:
        """Return the C name of a value's array for one sample and step."""
        value = self.alias.get(value, value)
        if value in self.outside:
            return f"{'x' if prefix == 'u' else prefix + 'x'}{self.outside.index(value)}"
        return f"{prefix}{self.values.index(value)}"

    def tensor(self, unit: Unit, key: str) -> str:
        """Return the C name of a tensor."""
        return f"w{self.number(unit, key)}"

    def number(self, unit: Unit, key: str) -> int:
        """Return the place of a tensor."""
        return self.tensors.index((unit.name, key))

    def comment(self, unit: Unit) -> str:
        """Return a comment with the node's name, which may hold anything."""
        return f"/* {plain_text(unit.name)} */"

    def parts(self, arrays: Sequence[tuple[str, int]], samples: str = "") -> dict[str, list[str]]:
        """Return lines of both functions: tensors, and arrays in one piece of memory."""
        at, lines = 0, []
        for name, size in arrays:
            lines.append(f"float *restrict {name} = room + {at}{samples};")
            at += size
        return {
            "tensors": [f"const float *w{i} = tensor[{i}];" for i in range(len(self.tensors))],
            "room": lines,
        }

    def named(self, template: str, arrays: Sequence[tuple[str, int]]) -> str:
        """Return a template with the name of the function and its sizes."""
        widest = max([1, *(self.size(v) for v in (*self.values, *self.outside))])
        numbers = {"TOTAL": sum(size for _, size in arrays), "LIST": widest + 16}
        for word, number in numbers.items():
            template = template.replace(word, str(number))
        return template.replace("NAME", self.name)

    # --- Forward ---

    def forward(self) -> str:
        """Return the function that runs the loop."""
        scratch = [(self.buffer(value), padded(self.size(value))) for value in self.values]
        scratch += [
            (f"ring{i}", d.steps * padded(self.size(d.name))) for i, d in enumerate(self.delays)
        ]
        slots = [
            (f"ring{i} + t % {d.steps} * {padded(self.size(d.name))}", self.size(d.name), d)
            for i, d in enumerate(self.delays)
        ]
        inputs = [
            f"const float *x{i} = in[{i}] + row * {self.size(v)};"
            for i, v in enumerate(self.outside)
        ]
        step = [
            *(copied(self.buffer(d.name), slot, size) for slot, size, d in slots),
            *(line for unit in self.units for line in self.step(unit)),
            *(copied(slot, self.buffer(d.operands[0]), size) for slot, size, d in slots),
            *(
                f"if (out[{i}]) {copied(f'out[{i}] + row * {n}', self.buffer(v), n)}"
                for i, v in enumerate(self.values)
                for n in (self.size(v),)
            ),
        ]
        parts = {
            **self.parts(scratch), "load": self.rings("load"), "store": self.rings("store"),
            "inputs": inputs, "step": step,
        }  # fmt: skip
        return filled(self.named(FORWARD, scratch), parts)

    def rings(self, what: str) -> list[str]:
        """Return how delay lines, oldest value first, become rings or come from them."""
        lines = []
        for i, d in enumerate(self.delays):
            size, room = self.size(d.name), padded(self.size(d.name))
            held = f"line[{i}] + (j * batch + b) * {size}"
            # Step t reads slot t % steps; after the last step the oldest is at time % steps.
            slot = f"ring{i} + {'j' if what == 'load' else f'(time + j) % {d.steps}'} * {room}"
            pair = (slot, held) if what == "load" else (held, slot)
            lines.append(f"for (int64_t j = 0; j < {d.steps}; j++) {copied(*pair, size)}")
        return lines

    def step(self, unit: Unit) -> list[str]:
        """Return the statements of one node."""
        if unit.kind == "delay" or unit.results[0] in self.alias:
            return []
        lines = [self.comment(unit)]
        if unit.kind == "neuron":
            return [*lines, *self.neuron(unit)]
        y, size = self.buffer(unit.results[0]), self.size(unit.results[0])
        xs = [f"{self.buffer(name)}[i]" for name in unit.operands]
        if unit.function == "linear":
            return [*lines, *self.linear(unit, y, size)]
        if unit.function == "add":
            total = xs[0]
            for x in xs[1:]:
                total = f"({total} + {x})"
            return [*lines, f"for (int64_t i = 0; i < {size}; i++) {y}[i] = {total};"]
        key = "factor" if unit.function == "scale" else "bias"
        sign = "*" if unit.function == "scale" else "+"
        value = f"{self.tensor(unit, key)}[i]"
        return [*lines, f"for (int64_t i = 0; i < {size}; i++) {y}[i] = {value} {sign} {xs[0]};"]

    def linear(self, unit: Unit, y: str, size: int) -> list[str]:
        """Return a sum over events; the bias is added last."""
        width, wide = self.size(unit.operands[0]), lanes(size)
        blocks = -(-size // (16 * wide))
        x = self.buffer(unit.operands[0])
        lines = [
            f"n = snn_list({x}, {width}, index, value);",
            f"snn_sum_{wide}({self.tensor(unit, 'weight')}, {blocks}, {width}, index, value, n, "
            f"{y});",
        ]
        if "bias" in unit.tensors:
            bias = self.tensor(unit, "bias")
            lines.append(f"for (int64_t i = 0; i < {size}; i++) {y}[i] += {bias}[i];")
        return lines

    def neuron(self, unit: Unit) -> list[str]:
        """Return the step of a population."""
        program, size = self.programs[unit.name], self.size(unit.name)
        updates = dict(program.updates)
        states = [self.states.index((unit.name, key)) for key in unit.initial]
        names = [state.name for state in program.states]
        step = [
            *self.inputs(unit),
            *(f"const float {name} = s{k}[i];" for k, name in zip(states, names, strict=True)),
            *self.params(unit),
            *c_statements(program),
            *(
                f"{self.buffer(result)}[i] = {name};"
                for result, (name, _) in zip(unit.results, program.outputs, strict=True)
            ),
        ]
        store = [
            f"s{k}[i] = {c_operand(updates[name], 'float')};"
            for k, name in zip(states, names, strict=True)
        ]
        short, extra = self.own_kept(unit, False), self.own_kept(unit, True)
        cases = [("if (kept)", [*short]), ("", [])]
        if extra:
            cases.insert(0, (f"if (kept && kept[{extra[0][0]}])", [*short, *extra]))
        lines = [f"float *restrict s{k} = state[{k}] + b * {size};" for k in states]
        lines += [
            f"if (history) {copied(f'history[{k}] + row * {size}', f's{k}', size)}" for k in states
        ]
        for index, (condition, keep) in enumerate(cases):
            lines += [
                f"{'else ' if index else ''}{condition} {{",
                *(f"    float *restrict h{k} = kept[{k}] + own * {size};" for k, _ in keep),
                f"    for (int64_t i = 0; i < {size}; i++) {{",
                *(f"        {line}" for line in step),
                *(f"        h{k}[i] = {name};" for k, name in keep),
                *(f"        {line}" for line in store),
                "    }",
                "}",
            ]
        return lines

    def own_kept(self, unit: Unit, trained: bool) -> list[tuple[int, str]]:
        """Return place and name of what a population keeps, or keeps for its parameters."""
        return [
            (k, name)
            for k, (owner, name, also) in enumerate(self.kept)
            if owner == unit.name and also == trained
        ]

    def inputs(self, unit: Unit) -> list[str]:
        """Return the inputs of one neuron as constants."""
        program = self.programs[unit.name]
        return [
            f"const float {name} = {self.buffer(operand)}[i];"
            for name, operand in zip(program.inputs, unit.operands, strict=True)
        ]

    def params(self, unit: Unit) -> list[str]:
        """Return the parameters of one neuron as constants."""
        program = self.programs[unit.name]
        names = zip(self.own_params(unit), (name for name, _ in program.params), strict=True)
        return [f"const float {name} = {self.tensor(unit, key)}[i];" for key, name in names]

    @staticmethod
    def own_params(unit: Unit) -> list[str]:
        """Return the parameters of a neuron in the order of its program."""
        return list(unit.options["params"])

    # --- What gradients need ---

    def _gradients(self, unit: Unit) -> tuple[Kept, Kept]:
        """Return what a population keeps and its gradient, without and with its parameters'.

        For those of the parameters it keeps some more.
        """
        program = self.programs[unit.name]
        made = adjoint(program, self.surrogate, self.detach)
        first = [*made.inputs.values(), *made.states.values()]
        short = gradient_of(program, made, first)
        return short, gradient_of(program, made, [*first, *made.params.values()], short[0])

    def needed(self) -> set[str]:
        """Return the values whose elements gradients need: what weights and factors multiply."""
        found = {self.origin(unit.operands[0])[0] for unit in self.units if self.multiplies(unit)}
        return found - set(self.outside)

    @staticmethod
    def multiplies(unit: Unit) -> bool:
        """Return whether a node has a tensor that multiplies its input."""
        return unit.kind == "op" and unit.function in ("linear", "scale")

    def origin(self, value: str) -> tuple[str, Unit | None]:
        """Return where a value is found again: a value and the delay after it, if any."""
        value = self.alias.get(value, value)
        for d in self.delays:
            source = self.alias.get(d.operands[0], d.operands[0])
            if d.results[0] == value and source not in [e.results[0] for e in self.delays]:
                return source, d
        return value, None


def copied(to: str, source: str, size: int) -> str:
    """Return the statement that copies floats."""
    return f"memcpy({to}, {source}, {size} * sizeof(float));"


def inside_order(units: Sequence[Unit]) -> list[str]:
    """Return every value of the units, delays' first."""
    first = [name for unit in units if unit.kind == "delay" for name in unit.results]
    return first + [name for unit in units if unit.kind != "delay" for name in unit.results]
