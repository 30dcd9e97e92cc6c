"""Recurrences as C: the nodes of a loop, step by step, one sample after the other.

Only what a loop is usually made of is written: neurons in float32, delays of whole populations,
linear layers, sums, factors and biases. A loop with anything else runs in plain torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.c_source import c_names, c_operand, c_statements
from snnir.dynamics.program import Dynamics, only
from snnir.dynamics.surrogate import Surrogate
from snnir.embedding import plain_text
from snnir.network import Loop, Unit

HEAD = r"""
/* ---- Loops ------------------------------------------------------------------------------- */

/* Lists the non-zero elements of x [width]. */
static int64_t snn_list(const float *x, int64_t width, int32_t *index, float *value)
{
    int64_t n = 0;
    for (int64_t k = 0; k < width; k++) {
        index[n] = (int32_t)k;
        value[n] = x[k];
        n += x[k] != 0.0f;
    }
    return n;
}

/* out = sum of value[e] times row index[e] of every block of the table [blocks, width, 16 V]. */
#define SUM(V)                                                                                   \
static void snn_sum_##V(const float *table, int64_t blocks, int64_t width, const int32_t *index, \
                        const float *value, int64_t n, float *out)                               \
{                                                                                                \
    for (int64_t q = 0; q < blocks; q++, table += width * 16 * V) {                              \
        vec a[V];                                                                                \
        for (int i = 0; i < V; i++) a[i] = (vec){0};                                             \
        for (int64_t e = 0; e < n; e++) {                                                        \
            const vec *p = (const vec *)(table + (int64_t)index[e] * 16 * V);                    \
            for (int i = 0; i < V; i++) a[i] += value[e] * p[i];                                 \
        }                                                                                        \
        memcpy(out + q * 16 * V, a, sizeof a);                                                   \
    }                                                                                            \
}                                                                                                \
static void snn_spread_##V(float *table, int64_t blocks, int64_t width, const int32_t *index,    \
                           const float *value, int64_t n, const float *d)                        \
{                                                                                                \
    for (int64_t q = 0; q < blocks; q++, table += width * 16 * V) {                              \
        const vec *g = (const vec *)(d + q * 16 * V);                                            \
        for (int64_t e = 0; e < n; e++) {                                                        \
            vec *p = (vec *)(table + (int64_t)index[e] * 16 * V);                                \
            for (int i = 0; i < V; i++) p[i] += value[e] * g[i];                                 \
        }                                                                                        \
    }                                                                                            \
}
SUM(1)
SUM(2)
SUM(4)
"""


def lanes(neurons: int) -> int:
    """Return how many vectors of 16 neurons are summed together."""
    return 1 if neurons <= 16 else 2 if neurons <= 32 else 4


def padded(size: int) -> int:
    """Return the room a population needs, so that whole vectors can be written."""
    return -(-size // 64) * 64


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
    writer = _Writer(name, units, shapes, programs)
    return LoopSource(writer.loop(), writer.forward() + writer.backward(surrogate, detach))


def _fits(unit: Unit, programs: Mapping[str, Dynamics]) -> bool:
    if unit.kind == "neuron":
        return programs[unit.function].dtype == "f32"
    if unit.kind == "delay":
        return "steps" not in unit.tensors and unit.steps > 0
    if unit.function == "linear":
        return len(unit.shape) == 1 and "zero" not in unit.tensors
    return unit.function in ("add", "scale", "offset", "identity", "reshape")


class _Writer:
    """Writes one loop."""

    def __init__(
        self, name: str, units: Sequence[Unit], shapes: Mapping[str, tuple[int, ...]],
        programs: Mapping[str, Dynamics],
    ) -> None:  # fmt: skip
        self.name, self.shapes = name, shapes
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
        return f"w{self.tensors.index((unit.name, key))}"

    def comment(self, unit: Unit) -> str:
        """Return a comment with the node's name, which may hold anything."""
        return f"/* {plain_text(unit.name)} */"

    # --- Forward ---

    def forward(self) -> str:
        """Return the function that runs the loop."""
        scratch = [(self.buffer(value), padded(self.size(value))) for value in self.values]
        scratch += [
            (f"ring{i}", d.steps * padded(self.size(d.name))) for i, d in enumerate(self.delays)
        ]
        body = [line for unit in self.units for line in self.step(unit)]
        lines = [
            *self.head(
                "forward",
                "const float *const *in, const float *const *tensor, const int32_t *each, "
                "float *const *out, float *const *state, float *const *history, "
                "float *const *line",
            ),
            *self.room(scratch),
            "for (int64_t b = first; b < last; b++) {",
            *(f"    {line}" for line in self.rings("load")),
            "    for (int64_t t = 0; t < time; t++) {",
            "        const int64_t row = t * batch + b;",
            *(f"        {line}" for line in self.inputs()),
            *(f"        {line}" for line in self.take()),
            *(f"        {line}" for line in body),
            *(
                f"        memcpy(ring{i} + t % {d.steps} * {padded(self.size(d.name))}, "
                f"{self.buffer(d.operands[0])}, {self.size(d.name)} * sizeof(float));"
                for i, d in enumerate(self.delays)
            ),
            *(
                f"        if (out[{i}]) memcpy(out[{i}] + row * {self.size(v)}, {self.buffer(v)}, "
                f"{self.size(v)} * sizeof(float));"
                for i, v in enumerate(self.values)
            ),
            "    }",
            *(f"    {line}" for line in self.rings("store")),
            "}",
        ]
        return self.function(lines)

    def inputs(self) -> list[str]:
        """Return the pointers to what comes from outside."""
        return [
            f"const float *x{i} = in[{i}] + row * {self.size(v)};"
            for i, v in enumerate(self.outside)
        ]

    def take(self) -> list[str]:
        """Return how delays give what they hold."""
        return [
            f"memcpy({self.buffer(d.name)}, ring{i} + t % {d.steps} * "
            f"{padded(self.size(d.name))}, {self.size(d.name)} * sizeof(float));"
            for i, d in enumerate(self.delays)
        ]

    def rings(self, what: str) -> list[str]:
        """Return how delay lines, oldest value first, become rings or come from them."""
        lines = []
        for i, d in enumerate(self.delays):
            size, room = self.size(d.name), padded(self.size(d.name))
            held = f"line[{i}] + (j * batch + b) * {size}"
            # Step t reads slot t % steps; after the last step the oldest is at time % steps.
            slot = f"ring{i} + {'j' if what == 'load' else f'(time + j) % {d.steps}'} * {room}"
            pair = f"{slot}, {held}" if what == "load" else f"{held}, {slot}"
            lines.append(
                f"for (int64_t j = 0; j < {d.steps}; j++) memcpy({pair}, {size} * sizeof(float));"
            )
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
        return [
            *(
                f"if (history) memcpy(history[{k}] + row * {size}, state[{k}] + b * {size}, "
                f"{size} * sizeof(float));"
                for k in states
            ),
            *(f"float *restrict s{k} = state[{k}] + b * {size};" for k in states),
            f"for (int64_t i = 0; i < {size}; i++) {{",
            *(f"    {line}" for line in self.loads(unit, program, states)),
            *(f"    {line}" for line in c_statements(program)),
            *(
                f"    {self.buffer(result)}[i] = {name};"
                for result, (name, _) in zip(unit.results, program.outputs, strict=True)
            ),
            *(
                f"    s{k}[i] = {c_operand(updates[state.name], 'float')};"
                for k, state in zip(states, program.states, strict=True)
            ),
            "}",
        ]

    def loads(
        self, unit: Unit, program: Dynamics, states: list[int], saved: str = "s"
    ) -> list[str]:
        """Return the inputs, states and parameters of one neuron as constants."""
        names = dict(zip(self.own_params(unit), (name for name, _ in program.params), strict=True))
        return [
            *(
                f"const float {name} = {self.buffer(operand)}[i];"
                for name, operand in zip(program.inputs, unit.operands, strict=True)
            ),
            *(
                f"const float {state.name} = {saved}{k}[i];"
                for k, state in zip(states, program.states, strict=True)
            ),
            *(
                f"const float {names[key]} = {self.tensor(unit, key)}"
                f"[each[{self.tensors.index((unit.name, key))}] ? i : 0];"
                for key in unit.tensors
            ),
        ]

    @staticmethod
    def own_params(unit: Unit) -> list[str]:
        """Return the parameters of a neuron in the order of its program."""
        return list(unit.options["params"])

    # --- Backward ---

    def backward(self, surrogate: Surrogate, detach: bool | str) -> str:
        """Return the function that runs the loop backwards."""
        room = [(self.buffer(v, "g"), padded(self.size(v))) for v in self.values]
        room += [(f"gx{i}", padded(self.size(v))) for i, v in enumerate(self.outside)]
        room += [
            (f"ring{i}", d.steps * padded(self.size(d.name))) for i, d in enumerate(self.delays)
        ]
        room.append(("sums", max(padded(self.size(v)) for v in (*self.values, *self.outside))))
        body = [
            line
            for unit in reversed(self.units)
            for line in self.step_back(unit, surrogate, detach)
        ]
        lines = [
            *self.head(
                "backward",
                "const float *const *in, const float *const *tensor, const int32_t *each, "
                "const float *const *kept, const float *const *history, "
                "const float *const *turned, const float *const *g_out, float *const *g_in, "
                "float *const *g_state, float *const *g_line, float *const *g_tensor",
            ),
            *self.room(room),
            "for (int64_t b = first; b < last; b++) {",
            *(f"    {line}" for line in self.rings_back("load")),
            "    for (int64_t t = time - 1; t >= 0; t--) {",
            "        const int64_t row = t * batch + b;",
            *(f"        {line}" for line in self.inputs()),
            *(
                f"        const float *{self.buffer(v)} = kept[{i}] + row * {self.size(v)};"
                for i, v in enumerate(self.values)
            ),
            *(
                f"        memset({self.buffer(v, 'g')}, 0, {self.size(v)} * sizeof(float));"
                for v in (*self.values, *self.outside)
            ),
            *(
                f"        if (g_out[{i}]) memcpy({self.buffer(v, 'g')}, g_out[{i}] + row * "
                f"{self.size(v)}, {self.size(v)} * sizeof(float));"
                for i, v in enumerate(self.values)
            ),
            *(
                f"        for (int64_t i = 0; i < {self.size(d.name)}; i++) "
                f"{self.buffer(d.operands[0], 'g')}[i] += "
                f"ring{i}[t % {d.steps} * {padded(self.size(d.name))} + i];"
                for i, d in enumerate(self.delays)
            ),
            *(f"        {line}" for line in body),
            *(
                f"        memcpy(ring{i} + t % {d.steps} * {padded(self.size(d.name))}, "
                f"{self.buffer(d.name, 'g')}, {self.size(d.name)} * sizeof(float));"
                for i, d in enumerate(self.delays)
            ),
            *(
                f"        memcpy(g_in[{i}] + row * {self.size(v)}, gx{i}, "
                f"{self.size(v)} * sizeof(float));"
                for i, v in enumerate(self.outside)
            ),
            "    }",
            *(f"    {line}" for line in self.rings_back("store")),
            "}",
        ]
        return self.function(lines)

    def rings_back(self, what: str) -> list[str]:
        """Return how the gradients of delay lines become rings or come from them.

        The slot of step t holds the gradient of what the delay takes in then. The line after the
        last step holds what was taken in at the last `steps` steps; that before the first step is
        what steps 0 to `steps` - 1 gave.
        """
        lines = []
        for i, d in enumerate(self.delays):
            size, room = self.size(d.name), padded(self.size(d.name))
            held = f"g_line[{i}] + (j * batch + b) * {size}"
            slot = f"ring{i} + {f'(time + j) % {d.steps}' if what == 'load' else 'j'} * {room}"
            pair = f"{slot}, {held}" if what == "load" else f"{held}, {slot}"
            lines.append(
                f"for (int64_t j = 0; j < {d.steps}; j++) memcpy({pair}, {size} * sizeof(float));"
            )
        return lines

    def step_back(self, unit: Unit, surrogate: Surrogate, detach: bool | str) -> list[str]:
        """Return the gradient of one node."""
        if unit.kind == "delay" or unit.results[0] in self.alias:
            return []
        lines = [self.comment(unit)]
        if unit.kind == "neuron":
            return [*lines, *self.neuron_back(unit, surrogate, detach)]
        g, size = self.buffer(unit.results[0], "g"), self.size(unit.results[0])
        if unit.function == "linear":
            return [*lines, *self.linear_back(unit, g, size)]
        each = f"for (int64_t i = 0; i < {size}; i++)"
        gs = [self.buffer(name, "g") for name in unit.operands]
        if unit.function == "add":
            return [*lines, *(f"{each} {to}[i] += {g}[i];" for to in gs)]
        x = self.buffer(unit.operands[0])
        if unit.function == "scale":
            k = self.tensors.index((unit.name, "factor"))
            return [
                *lines, f"{each} {gs[0]}[i] += w{k}[i] * {g}[i];",
                f"if (g_tensor[{k}]) {each} g_tensor[{k}][i] += {x}[i] * {g}[i];",
            ]  # fmt: skip
        k = self.tensors.index((unit.name, "bias"))
        return [
            *lines, f"{each} {gs[0]}[i] += {g}[i];",
            f"if (g_tensor[{k}]) {each} g_tensor[{k}][i] += {g}[i];",
        ]  # fmt: skip

    def linear_back(self, unit: Unit, g: str, size: int) -> list[str]:
        """Return the gradients of a linear layer's input, weights and bias."""
        width = self.size(unit.operands[0])
        k = self.tensors.index((unit.name, "weight"))
        wide, turned = lanes(size), lanes(width)
        x, to = self.buffer(unit.operands[0]), self.buffer(unit.operands[0], "g")
        lines = [
            f"memset({g} + {size}, 0, {padded(size) - size} * sizeof(float));",
            f"n = snn_list({g}, {size}, index, value);",
            f"snn_sum_{turned}(turned[{k}], {-(-width // (16 * turned))}, {size}, index, value, n, "
            "sums);",
            f"for (int64_t i = 0; i < {width}; i++) {to}[i] += sums[i];",
            f"if (g_tensor[{k}]) {{",
            f"    n = snn_list({x}, {width}, index, value);",
            f"    snn_spread_{wide}(g_tensor[{k}], {-(-size // (16 * wide))}, {width}, index, "
            f"value, n, {g});",
            "}",
        ]
        if "bias" in unit.tensors:
            j = self.tensors.index((unit.name, "bias"))
            lines.append(
                f"if (g_tensor[{j}]) for (int64_t i = 0; i < {size}; i++) "
                f"g_tensor[{j}][i] += {g}[i];"
            )
        return lines

    def neuron_back(self, unit: Unit, surrogate: Surrogate, detach: bool | str) -> list[str]:
        """Return the gradient of a population's step."""
        program, size = self.programs[unit.name], self.size(unit.name)
        made = adjoint(program, surrogate, detach)
        states = [self.states.index((unit.name, key)) for key in unit.initial]
        keys = self.own_params(unit)
        numbers = [self.tensors.index((unit.name, key)) for key in keys]
        given = [
            *(
                f"const float {name} = {self.buffer(result, 'g')}[i];"
                for name, result in zip(made.outputs, unit.results, strict=True)
            ),
            *(
                f"const float {made.updates[state.name]} = d{k}[i];"
                for k, state in zip(states, program.states, strict=True)
            ),
        ]
        loads = [*self.loads(unit, program, states, "h"), *given]
        params = [made.params[name] for name, _ in program.params]
        some = [f"g_tensor[{number}]" for number in numbers]
        tail = [
            *(
                f"{self.buffer(operand, 'g')}[i] += {c_operand(made.inputs[name], 'float')};"
                for name, operand in zip(program.inputs, unit.operands, strict=True)
            ),
            *(
                f"d{k}[i] = {c_operand(made.states[state.name], 'float')};"
                for k, state in zip(states, program.states, strict=True)
            ),
        ]
        sums = [
            f"{array}[i] += {c_operand(value, 'float')};"
            for array, value in zip(some, params, strict=True)
        ]
        head = [
            *(f"const float *h{k} = history[{k}] + row * {size};" for k in states),
            *(f"float *restrict d{k} = g_state[{k}] + b * {size};" for k in states),
        ]
        first = [*made.inputs.values(), *made.states.values()]
        short = only(made.program, first)
        whole = only(made.program, [*first, *params])
        each = f"for (int64_t i = 0; i < {size}; i++) {{"
        lines = [*head]
        if some:
            # Parameters are trained all together or not at all.
            lines += [f"if ({some[0]}) {{", each, *loads, *c_statements(whole), *sums, *tail]
            lines += ["}", "} else"]
        return [*lines, each, *loads, *c_statements(short), *tail, "}"]

    # --- Frames ---

    def head(self, what: str, arguments: str) -> list[str]:
        """Return the first lines of a function."""
        tensors = [f"const float *w{i} = tensor[{i}];" for i in range(len(self.tensors))]
        widest = max([1, *(self.size(v) for v in (*self.values, *self.outside))])
        return [
            f"int {self.name}_{what}(int64_t first, int64_t last, int64_t time, int64_t batch,",
            f"    {arguments})",
            "{",
            *tensors,
            f"int32_t *index = malloc({widest + 16} * sizeof(int32_t));",
            f"float *value = malloc({widest + 16} * sizeof(float));",
            "int64_t n = 0;",
        ]

    @staticmethod
    def room(arrays: list[tuple[str, int]]) -> list[str]:
        """Return the arrays of one sample, in one piece of memory."""
        total = sum(size for _, size in arrays)
        lines = [
            f"float *room = calloc({total}, sizeof(float));",
            "if (!room || !index || !value) { free(room); free(index); free(value); return 1; }",
        ]
        at = 0
        for name, size in arrays:
            lines.append(f"float *restrict {name} = room + {at};")
            at += size
        return lines

    @staticmethod
    def function(lines: list[str]) -> str:
        """Return a function's text."""
        end = [
            "free(room);",
            "free(index);",
            "free(value);",
            "(void)n;",
            "(void)each;",
            "return 0;",
        ]
        start = lines.index("{")
        inner = [f"    {line}" for line in (*lines[start + 1 :], *end)]
        return "\n".join([*lines[: start + 1], *inner, "}", "", ""])


def inside_order(units: Sequence[Unit]) -> list[str]:
    """Return every value of the units, delays' first."""
    first = [name for unit in units if unit.kind == "delay" for name in unit.results]
    return first + [name for unit in units if unit.kind != "delay" for name in unit.results]
