"""The C side of the torch target: scans of step programs, and sums over events.

Every function works on plain arrays and on a range `[first, last)` of independent parts, so that
threads share one call. No operation is contracted (`-ffp-contract=off`): results equal those of
separate roundings.
"""

from __future__ import annotations

from collections.abc import Mapping

from snnir.dynamics.adjoint import Adjoint, adjoint
from snnir.dynamics.c_source import c_names, c_operand, c_statements, c_type
from snnir.dynamics.program import Dynamics, Operand
from snnir.dynamics.surrogate import Surrogate

HEAD = r"""/* Kernels of a spiking network, written by snnir. Compile with -O3 -ffp-contract=off.
 *
 * Arrays are [time, batch, neurons] unless said otherwise. Each function works on the parts
 * [first, last) of a whole whose parts are independent, so that threads can share a call.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define BLOCK 512 /* neurons that a scan carries through time together */

typedef float vec __attribute__((vector_size(64), aligned(4)));

/* As in NumPy: a NaN wins. */
static inline float snn_minf(float a, float b) { return a < b || a != a ? a : b; }
static inline float snn_maxf(float a, float b) { return a > b || a != a ? a : b; }
static inline double snn_min(double a, double b) { return a < b || a != a ? a : b; }
static inline double snn_max(double a, double b) { return a > b || a != a ? a : b; }

/* ---- Events: the positions of what is not zero ------------------------------------------- */

/* Lists the non-zero elements of each row of x [rows, width].
 * Row r has the entries begin[r] to begin[r + 1] of `index`, which needs room for 16 more than
 * there can be. `plain` becomes 0 if one of them is not 1. Returns their number. */
int64_t snn_events(const float *x, int64_t rows, int64_t width, int64_t *begin, int32_t *index,
                   int32_t *plain)
{
    int64_t n = 0;
    int odd = 0;
    for (int64_t r = 0; r < rows; r++) {
        const float *p = x + r * width;
        begin[r] = n;
        int64_t k = 0;
#ifdef __AVX512F__
        const __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1.0f);
        __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        for (; k + 16 <= width; k += 16) {
            const __m512 v = _mm512_loadu_ps(p + k);
            const __mmask16 some = _mm512_cmp_ps_mask(v, zero, _CMP_NEQ_UQ);
            _mm512_storeu_si512(index + n, _mm512_maskz_compress_epi32(some, place));
            odd |= _mm512_mask_cmp_ps_mask(some, v, one, _CMP_NEQ_UQ);
            n += __builtin_popcount(some);
            place = _mm512_add_epi32(place, _mm512_set1_epi32(16));
        }
#else
        for (; k + 8 <= width; k += 8) {
            uint64_t bits[4];
            memcpy(bits, p + k, sizeof bits);
            if (!(((bits[0] | bits[1]) | (bits[2] | bits[3])) & 0x7fffffff7fffffffu)) continue;
            for (int j = 0; j < 8; j++) {
                const float v = p[k + j];
                index[n] = (int32_t)(k + j);
                n += v != 0.0f;
                odd |= (v != 0.0f) & (v != 1.0f);
            }
        }
#endif
        for (; k < width; k++) {
            index[n] = (int32_t)k;
            n += p[k] != 0.0f;
            odd |= (p[k] != 0.0f) & (p[k] != 1.0f);
        }
    }
    begin[rows] = n;
    *plain = !odd;
    return n;
}

/* value[e] = the element behind entry e. */
void snn_values(const float *x, int64_t rows, int64_t width, const int64_t *begin,
                const int32_t *index, float *value)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t e = begin[r]; e < begin[r + 1]; e++) value[e] = x[r * width + index[e]];
}

/* out[row] = sum of the weights of the row's events, times their values unless `plain`.
 * w: [blocks, width, WIDE]; out: [rows, neurons]; parts are blocks of WIDE neurons. */
#define GATHER(WIDE)                                                                             \
void snn_gather_##WIDE(int64_t first, int64_t last, const int64_t *begin, const int32_t *index,  \
                       const float *value, int32_t plain, const float *w, const float *bias,     \
                       int64_t rows, int64_t width, int64_t neurons, float *out)                 \
{                                                                                                \
    enum { V = WIDE / 16 };                                                                      \
    for (int64_t q = first; q < last; q++) {                                                     \
        const float *table = w + q * width * WIDE;                                               \
        int64_t n0 = q * WIDE, n = neurons - n0 < WIDE ? neurons - n0 : WIDE;                    \
        float b[WIDE] = {0};                                                                     \
        if (bias) memcpy(b, bias + n0, n * sizeof(float));                                       \
        for (int64_t r = 0; r < rows; r++) {                                                     \
            vec a[V];                                                                            \
            for (int i = 0; i < V; i++) a[i] = (vec){0};                                         \
            int64_t e = begin[r], end = begin[r + 1];                                            \
            if (plain)                                                                           \
                for (; e < end; e++) {                                                           \
                    const vec *p = (const vec *)(table + (int64_t)index[e] * WIDE);              \
                    for (int i = 0; i < V; i++) a[i] += p[i];                                    \
                }                                                                                \
            else                                                                                 \
                for (; e < end; e++) {                                                           \
                    const vec *p = (const vec *)(table + (int64_t)index[e] * WIDE);              \
                    for (int i = 0; i < V; i++) a[i] += value[e] * p[i];                         \
                }                                                                                \
            if (bias)                                                                            \
                for (int i = 0; i < V; i++) a[i] += ((const vec *)b)[i];                         \
            memcpy(out + r * neurons + n0, a, n * sizeof(float));                                \
        }                                                                                        \
    }                                                                                            \
}
GATHER(16)
GATHER(32)
GATHER(64)

/* g[event] += d[row] for every event of the row, times its value unless `plain`: the gradient of
 * the weights. g: [blocks, width, WIDE], d: [rows, neurons]. */
#define SCATTER(WIDE)                                                                            \
void snn_scatter_##WIDE(int64_t first, int64_t last, const int64_t *begin, const int32_t *index, \
                        const float *value, int32_t plain, const float *d, int64_t rows,         \
                        int64_t width, int64_t neurons, float *g)                                \
{                                                                                                \
    enum { V = WIDE / 16 };                                                                      \
    for (int64_t q = first; q < last; q++) {                                                     \
        float *table = g + q * width * WIDE;                                                     \
        int64_t n0 = q * WIDE, n = neurons - n0 < WIDE ? neurons - n0 : WIDE;                    \
        for (int64_t r = 0; r < rows; r++) {                                                     \
            int64_t e = begin[r], end = begin[r + 1];                                            \
            if (e == end) continue;                                                              \
            vec a[V];                                                                            \
            for (int i = 0; i < V; i++) a[i] = (vec){0};                                         \
            memcpy(a, d + r * neurons + n0, n * sizeof(float));                                  \
            for (; e < end; e++) {                                                               \
                vec *p = (vec *)(table + (int64_t)index[e] * WIDE);                              \
                if (plain)                                                                       \
                    for (int i = 0; i < V; i++) p[i] += a[i];                                    \
                else                                                                             \
                    for (int i = 0; i < V; i++) p[i] += value[e] * a[i];                         \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
}
SCATTER(16)
SCATTER(32)
SCATTER(64)

/* Convolution as a sum over events: every event adds its taps to the outputs it reaches.
 * place: (channel, row, column) of every input element, three int32 each; w: [channels, kernel
 * rows, kernel columns, wide], the output channels padded to `wide`, a multiple of 16; acc: room
 * for one sample [out rows, out columns, wide] per part; out: [rows, outs, out rows, out columns].
 * Parts are rows of the input. */
int snn_conv(int64_t first, int64_t last, const int64_t *begin, const int32_t *index,
             const float *value, int32_t plain, const int32_t *place, const float *w,
             const float *bias, const int64_t *geometry, float *out)
{
    const int64_t kh = geometry[0], kw = geometry[1], sh = geometry[2], sw = geometry[3];
    const int64_t ph = geometry[4], pw = geometry[5], dh = geometry[6], dw = geometry[7];
    const int64_t oh = geometry[8], ow = geometry[9], outs = geometry[10], wide = geometry[11];
    const int64_t count = wide / 16, positions = oh * ow;
    vec *acc = aligned_alloc(64, positions * wide * sizeof(float));
    if (!acc) return 1;
    for (int64_t r = first; r < last; r++) {
        memset(acc, 0, positions * wide * sizeof(float));
        for (int64_t e = begin[r]; e < begin[r + 1]; e++) {
            const int32_t *at = place + 3 * (int64_t)index[e];
            const float *taps = w + at[0] * kh * kw * wide;
            const float v = plain ? 1.0f : value[e];
            for (int64_t i = 0; i < kh; i++) {
                const int64_t y = at[1] + ph - i * dh;
                if (y < 0 || y % sh || y / sh >= oh) continue;
                for (int64_t j = 0; j < kw; j++) {
                    const int64_t x = at[2] + pw - j * dw;
                    if (x < 0 || x % sw || x / sw >= ow) continue;
                    const vec *p = (const vec *)(taps + (i * kw + j) * wide);
                    vec *a = acc + (y / sh * ow + x / sw) * count;
                    if (plain)
                        for (int64_t k = 0; k < count; k++) a[k] += p[k];
                    else
                        for (int64_t k = 0; k < count; k++) a[k] += v * p[k];
                }
            }
        }
        const float *sums = (const float *)acc;
        for (int64_t o = 0; o < outs; o++) {
            float *to = out + (r * outs + o) * positions;
            if (bias)
                for (int64_t q = 0; q < positions; q++) to[q] = sums[q * wide + o] + bias[o];
            else
                for (int64_t q = 0; q < positions; q++) to[q] = sums[q * wide + o];
        }
    }
    free(acc);
    return 0;
}
"""


def c_source(programs: Mapping[str, Dynamics], surrogate: Surrogate, detach: bool | str) -> str:
    """Return the kernels of a network.

    Args:
        programs: Step programs by the name of their functions.
        surrogate: What stands for the derivative of a spike.
        detach: Whether resets count as constants.
    """
    parts = [HEAD]
    for name, program in programs.items():
        safe = c_names(program)
        parts.append(_forward(safe, name))
        parts += [_backward(safe, name, surrogate, detach, params) for params in (False, True)]
    return "\n".join(parts)


def _forward(program: Dynamics, name: str) -> str:
    real = c_type(program)
    states = [state.name for state in program.states]
    updates = dict(program.updates)
    step = [
        *_loads(program.inputs, "in", "float", real, strided=True),
        *(f"const {real} {state} = state_{k}[i];" for k, state in enumerate(states)),
        *(f"const {real} {p} = param_{k}[i];" for k, (p, _) in enumerate(program.params)),
        *c_statements(program),
        *(f"out_{k}[i] = (float){output};" for k, (output, _) in enumerate(program.outputs)),
        *(f"state_{k}[i] = {c_operand(updates[s], real)};" for k, s in enumerate(states)),
    ]
    numbers = range(len(states))
    body = [
        *_params(program, real),
        *(f"{real} state_{k}[BLOCK];" for k in numbers),
        *(f"memcpy(state_{k}, state[{k}] + at, n * sizeof({real}));" for k in numbers),
        "for (int64_t t = 0; t < time; t++) {",
        "    const int64_t now = t * batch * neurons + at;",
        *(
            f"    if (history) memcpy(history[{k}] + now, state_{k}, n * sizeof({real}));"
            for k in numbers
        ),
        *_pointers(program.inputs, "in", "const float"),
        *_pointers(program.outputs, "out", "float"),
        "    for (int64_t i = 0; i < n; i++) {",
        *(f"        {line}" for line in step),
        "    }",
        "}",
        *(f"memcpy(state[{k}] + at, state_{k}, n * sizeof({real}));" for k in numbers),
    ]
    arguments = (
        f"const float *const *in, {real} *const *state, const {real} *const *param, "
        f"const int32_t *per_neuron, float *const *out, {real} *const *history"
    )
    return _kernel(f"{name}_scan", arguments, body)


def _backward(
    program: Dynamics, name: str, surrogate: Surrogate, detach: bool | str, params: bool
) -> str:
    real = c_type(program)
    made = adjoint(program, surrogate, detach)
    states = [state.name for state in program.states]
    names = [param for param, _ in program.params]
    wanted = [*made.inputs.values(), *made.states.values()]
    wanted += made.params.values() if params else ()
    body = _step_back(program, made, wanted, real)
    numbers = range(len(states))
    gradients = range(len(names)) if params else ()
    totals = [
        f"total_{k}[i] += {c_operand(made.params[names[k]], real)};" for k in gradients
    ]  # fmt: skip
    lines = [
        *_params(program, real),
        *(f"{real} grad_{k}[BLOCK];" for k in numbers),
        *(f"memcpy(grad_{k}, g_state[{k}] + at, n * sizeof({real}));" for k in numbers),
        *(f"{real} total_{k}[BLOCK] = {{0}};" for k in gradients),
        "for (int64_t t = time - 1; t >= 0; t--) {",
        "    const int64_t now = t * batch * neurons + at;",
        *_pointers(program.inputs, "in", "const float"),
        *_pointers(states, "history", f"const {real}"),
        *_pointers(program.outputs, "g_out", "const float"),
        *_pointers(program.inputs, "g_in", "float"),
        "    for (int64_t i = 0; i < n; i++) {",
        *(f"        {line}" for line in (*body, *totals)),
        "    }",
        "}",
        *(f"memcpy(g_state[{k}] + at, grad_{k}, n * sizeof({real}));" for k in numbers),
        *(f"memcpy(g_param[{k}] + at, total_{k}, n * sizeof({real}));" for k in gradients),
    ]
    arguments = (
        f"const float *const *in, const {real} *const *history, const {real} *const *param, "
        f"const int32_t *per_neuron, const float *const *g_out, float *const *g_in, "
        f"{real} *const *g_state, {real} *const *g_param"
    )
    return _kernel(f"{name}_back{'_params' if params else ''}", arguments, lines)


def _step_back(program: Dynamics, made: Adjoint, wanted: list[Operand], real: str) -> list[str]:
    """Return the statements of one step backwards, without what no result needs."""
    needed = {name for name in wanted if isinstance(name, str)}
    kept = []
    for let in reversed(made.program.body):
        if let.target in needed:
            kept.append(let)
            needed |= {arg for arg in let.args if isinstance(arg, str)}
    from dataclasses import replace

    live = replace(made.program, body=tuple(reversed(kept)))
    states = [state.name for state in program.states]
    loads = [
        *_loads(program.inputs, "in", "float", real, strided=True),
        *(f"const {real} {s} = history_{k}[i];" for k, s in enumerate(states)),
        *(f"const {real} {p} = param_{k}[i];" for k, (p, _) in enumerate(program.params)),
        *(f"const {real} {g} = g_out_{k}[i];" for k, g in enumerate(made.outputs)),
        *(f"const {real} {made.updates[s]} = grad_{k}[i];" for k, s in enumerate(states)),
    ]
    return [
        *(line for line in loads if line.split(" = ")[0].split()[-1] in needed),
        *c_statements(live),
        *(
            f"g_in_{k}[i] = (float){c_operand(made.inputs[name], real)};"
            for k, name in enumerate(program.inputs)
        ),
        *(f"grad_{k}[i] = {c_operand(made.states[s], real)};" for k, s in enumerate(states)),
    ]


def _loads(names: tuple[str, ...], array: str, _: str, real: str, strided: bool) -> list[str]:
    return [f"const {real} {name} = {array}_{k}[i];" for k, name in enumerate(names)]


def _pointers(names: tuple[object, ...] | list[str], array: str, kind: str) -> list[str]:
    return [f"    {kind} *restrict {array}_{k} = {array}[{k}] + now;" for k in range(len(names))]


def _params(program: Dynamics, real: str) -> list[str]:
    lines = []
    for k in range(len(program.params)):
        value = f"param[{k}][per_neuron[{k}] ? first_neuron + i : 0]"
        lines.append(f"{real} param_{k}[BLOCK];")
        lines.append(f"for (int64_t i = 0; i < n; i++) param_{k}[i] = {value};")
    return lines


def _kernel(name: str, arguments: str, body: list[str]) -> str:
    lines = [
        f"void {name}(int64_t first, int64_t last, int64_t time, int64_t batch, int64_t neurons,",
        f"    {arguments})",
        "{",
        "    const int64_t blocks = (neurons + BLOCK - 1) / BLOCK;",
        "    for (int64_t part = first; part < last; part++) {",
        "        const int64_t first_neuron = part % blocks * BLOCK;",
        "        const int64_t left = neurons - first_neuron, n = left < BLOCK ? left : BLOCK;",
        "        const int64_t at = part / blocks * neurons + first_neuron;",
        *(f"        {line}" for line in body),
        "    }",
        "}",
        "",
    ]
    return "\n".join(lines)
