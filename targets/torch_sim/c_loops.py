"""Recurrences as C: the nodes of a loop, step by step.

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
from math import prod

from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.c_source import c_names, c_operand, c_statements
from snnir.dynamics.kept import gradient_of
from snnir.dynamics.program import Dynamics
from snnir.dynamics.surrogate import Surrogate
from snnir.embedding import plain_text
from snnir.network import Loop, Unit
from snnir.targets.torch_sim.c_text import filled

HEAD = r"""
/* ---- Loops ------------------------------------------------------------------------------- */

#define GROUP 8 /* samples that go back through time together, a multiple of 4 */

/* a + x p, rounded once where the processor can: for gradients. */
static ALWAYS_INLINE vec snn_fma(float x, vec p, vec a)
{
#ifdef __AVX512F__
    return (vec)_mm512_fmadd_ps(_mm512_set1_ps(x), (__m512)p, (__m512)a);
#else
    return a + x * p;
#endif
}

/* Lists the non-zero elements of x [width]; room for 16 more than there can be. */
static int64_t snn_list(const float *x, int64_t width, int32_t *index, float *value)
{
    int64_t n = 0, k = 0;
#ifdef __AVX512F__
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (; k + 16 <= width; k += 16) {
        const __m512 v = _mm512_loadu_ps(x + k);
        const __mmask16 some = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        _mm512_storeu_si512(index + n, _mm512_maskz_compress_epi32(some, place));
        _mm512_storeu_ps(value + n, _mm512_maskz_compress_ps(some, v));
        n += __builtin_popcount(some);
        place = _mm512_add_epi32(place, _mm512_set1_epi32(16));
    }
#endif
    for (; k < width; k++) {
        index[n] = (int32_t)k;
        value[n] = x[k];
        n += x[k] != 0.0f;
    }
    return n;
}

/* How many elements of x [width] are not zero. */
static int64_t snn_count(const float *x, int64_t width)
{
    int32_t n = 0;
    for (int32_t k = 0; k < (int32_t)width; k++) n += x[k] != 0.0f;
    return n;
}

/* snn_sum: out = sum of value[e] times row index[e] of every block of the table [blocks, width,
 * 16 V]. snn_spread: adds value[e] times d to row index[e]. snn_share: to[s] += sum of g[s][j]
 * times row j, for up to GROUP samples. */
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
            for (int i = 0; i < V; i++) p[i] = snn_fma(value[e], g[i], p[i]);                    \
        }                                                                                        \
    }                                                                                            \
}                                                                                                \
static void snn_share_##V(const float *table, int64_t blocks, int64_t width, const float *g,     \
                          int64_t room, int64_t samples, float *to, int64_t to_room)             \
{                                                                                                \
    for (int64_t q = 0; q < blocks; q++, table += width * 16 * V)                                \
        for (int64_t s = 0; s < samples; s += 4) {                                               \
            vec a[4][V];                                                                         \
            for (int k = 0; k < 4; k++)                                                          \
                for (int i = 0; i < V; i++) a[k][i] = (vec){0};                                  \
            for (int64_t j = 0; j < width; j++) {                                                \
                const vec *p = (const vec *)(table + j * 16 * V);                                \
                for (int k = 0; k < 4; k++) {                                                    \
                    const float x = g[(s + k) * room + j];                                       \
                    for (int i = 0; i < V; i++) a[k][i] = snn_fma(x, p[i], a[k][i]);             \
                }                                                                                \
            }                                                                                    \
            for (int k = 0; k < 4; k++) {                                                        \
                vec *sum = (vec *)(to + (s + k) * to_room + q * 16 * V);                         \
                for (int i = 0; i < V; i++) sum[i] += a[k][i];                                   \
            }                                                                                    \
        }                                                                                        \
}
SUM(1)
SUM(2)
SUM(4)
"""

#: See `c_text.filled`; `NAME` stands for the name of the functions.
FORWARD = r"""
/* Runs samples through time. in: what comes from outside, [time, batch, size]; out: values
 * likewise, null if not wanted; kept: what gradients need, [batch, time, size]; history: the states
 * before every step, [time, batch, size]; both may be null. state: [batch, size] and line: what
 * delays hold, [steps, batch, size], in place. Returns 1 if there is no memory. */
int NAME_forward(int64_t first, int64_t last, int64_t time, int64_t batch, const float *const *in,
                 const float *const *tensor, float *const *out, float *const *kept,
                 float *const *history, float *const *state, float *const *line)
{
    $tensors
    float *room = calloc(TOTAL, sizeof(float));
    int32_t *index = malloc(LIST * sizeof(int32_t));
    float *value = malloc(LIST * sizeof(float));
    int64_t n = 0;
    if (!room || !index || !value) { free(room); free(index); free(value); return 1; }
    $room
    for (int64_t b = first; b < last; b++) {
        $load
        for (int64_t t = 0; t < time; t++) {
            const int64_t row = t * batch + b, own = b * time + t;
            $inputs
            $step
            (void)own;
            (void)row;
        }
        $store
    }
    free(room);
    free(index);
    free(value);
    (void)n;
    return 0;
}
"""
BACKWARD = r"""
/* Goes back through time. in, tensor, kept: as for NAME_forward; value: the values, null where not
 * needed; line: what delays held before the first step; turned: the weights by output; g_out:
 * gradients of the values, null for none. Made: g_in; in place, from after the last step to before
 * the first: g_state and g_line; added to, where not null: g_tensor. Returns 1 if there is no
 * memory. */
int NAME_backward(int64_t first, int64_t last, int64_t time, int64_t batch, const float *const *in,
                  const float *const *tensor, const float *const *value, const float *const *kept,
                  const float *const *line, const float *const *turned, const float *const *g_out,
                  float *const *g_in, float *const *g_state, float *const *g_line,
                  float *const *g_tensor)
{
    $tensors
    float *room = calloc(TOTAL * GROUP, sizeof(float));
    int32_t *index = malloc(LIST * sizeof(int32_t));
    float *amount = malloc(LIST * sizeof(float));
    int64_t n = 0;
    if (!room || !index || !amount) { free(room); free(index); free(amount); return 1; }
    $room
    for (int64_t b = first; b < last; b += GROUP) {
        const int64_t samples = last - b < GROUP ? last - b : GROUP;
        memset(room, 0, TOTAL * GROUP * sizeof(float));
        for (int64_t s = 0; s < samples; s++) {
            $load
        }
        for (int64_t t = time - 1; t >= 0; t--) {
            const int64_t row = t * batch + b;
            for (int64_t s = 0; s < samples; s++) {
                $start
            }
            $back
            for (int64_t s = 0; s < samples; s++) {
                $end
            }
        }
        for (int64_t s = 0; s < samples; s++) {
            $store
        }
    }
    free(room);
    free(index);
    free(amount);
    (void)n;
    return 0;
}
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
    writer = _Writer(name, units, shapes, programs, surrogate, detach)
    return LoopSource(writer.loop(), writer.forward() + writer.backward())


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
        self.kept = [
            (unit.name, name, trained)
            for unit in self.neurons
            for trained in (False, True)
            for name in self.keeps(unit, trained)
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
            *(_copy(self.buffer(d.name), slot, size) for slot, size, d in slots),
            *(line for unit in self.units for line in self.step(unit)),
            *(_copy(slot, self.buffer(d.operands[0]), size) for slot, size, d in slots),
            *(
                f"if (out[{i}]) {_copy(f'out[{i}] + row * {n}', self.buffer(v), n)}"
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
            lines.append(f"for (int64_t j = 0; j < {d.steps}; j++) {_copy(*pair, size)}")
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
            f"if (history) {_copy(f'history[{k}] + row * {size}', f's{k}', size)}" for k in states
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

    # --- Backward ---

    def gradient(self, unit: Unit, trained: bool) -> tuple[tuple[str, ...], Dynamics]:
        """Return what a population keeps of a step and its gradient, with its parameters' or not.

        For those of the parameters it keeps some more.
        """
        program = self.programs[unit.name]
        made = adjoint(program, self.surrogate, self.detach)
        first = [*made.inputs.values(), *made.states.values()]
        kept, short = gradient_of(program, made, first)
        if not trained:
            return kept, short
        return gradient_of(program, made, [*first, *made.params.values()], kept)

    def keeps(self, unit: Unit, trained: bool) -> tuple[str, ...]:
        """Return what a population keeps, or what it keeps more for its parameters."""
        kept = self.gradient(unit, trained)[0]
        return kept[len(self.gradient(unit, False)[0]) :] if trained else kept

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
                f"if (g_out[{i}]) {_copy(self.at(v), f'g_out[{i}] + (row + s) * {n}', n)}\n"
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
                _copy(self.slot(i, f"t % {d.steps}"), self.at(d.name), self.size(d.name))
                for i, d in enumerate(self.delays)
            ),
            *(
                _copy(f"g_in[{i}] + (row + s) * {self.size(v)}", self.at(v), self.size(v))
                for i, v in enumerate(self.outside)
            ),
        ]
        parts = {
            **self.parts(room, " * GROUP"), "start": start, "end": end,
            "back": [line for unit in reversed(self.units) for line in self.step_back(unit)],
            "load": self.rings_back("load"), "store": self.rings_back("store"),
        }  # fmt: skip
        return filled(self.named(BACKWARD, room), parts)

    def named(self, template: str, arrays: Sequence[tuple[str, int]]) -> str:
        """Return a template with the name of the function and its sizes."""
        widest = max([1, *(self.size(v) for v in (*self.values, *self.outside))])
        numbers = {"TOTAL": sum(size for _, size in arrays), "LIST": widest + 16}
        for word, number in numbers.items():
            template = template.replace(word, str(number))
        return template.replace("NAME", self.name)

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
            lines.append(f"for (int64_t j = 0; j < {d.steps}; j++) {_copy(*pair, size)}")
        return lines

    def step_back(self, unit: Unit) -> list[str]:
        """Return the gradient of one node for all samples of a group."""
        if unit.kind == "delay" or unit.results[0] in self.alias:
            return []
        lines = [self.comment(unit)]
        if unit.kind == "op" and unit.function == "linear":
            return [*lines, *self.linear_back(unit)]
        if unit.kind == "neuron":
            return [*lines, *_each_sample(self.neuron_back(unit))]
        size, g = self.size(unit.results[0]), self.element(unit.results[0])
        each = f"for (int64_t i = 0; i < {size}; i++)"
        gs = [self.element(name) for name in unit.operands]
        if unit.function == "add":
            return [*lines, *_each_sample([f"{each} {to} += {g};" for to in gs])]
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
        return [*lines, *_each_sample(body)]

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
            *(f"    {line}" for line in _each_sample([
                f"n = snn_list({g} + s * {own}, {size}, index, amount);",
                f"snn_sum_{turned}({table}, index, amount, n, sums);",
                f"for (int64_t i = 0; i < {width}; i++) {to}[s * {others} + i] += sums[i];",
            ])),
            f"if (g_tensor[{k}])",
            *(f"    {line}" for line in _each_sample([
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
                *(f"    {line}" for line in _each_sample([
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
        cases = [("", short, self.gradient(unit, False)[1], store)]
        if numbers:  # parameters are trained all together or not at all
            whole = [*short, *self.own_kept(unit, True)]
            first = f"if (g_tensor[{numbers[0]}])", whole, self.gradient(unit, True)[1]
            cases.insert(0, (*first, [*store, *sums]))
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


def _copy(to: str, source: str, size: int) -> str:
    return f"memcpy({to}, {source}, {size} * sizeof(float));"


def _each_sample(lines: list[str]) -> list[str]:
    return ["for (int64_t s = 0; s < samples; s++) {", *(f"    {line}" for line in lines), "}"]


def inside_order(units: Sequence[Unit]) -> list[str]:
    """Return every value of the units, delays' first."""
    first = [name for unit in units if unit.kind == "delay" for name in unit.results]
    return first + [name for unit in units if unit.kind != "delay" for name in unit.results]
