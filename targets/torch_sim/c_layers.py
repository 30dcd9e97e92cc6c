"""Layers as C: a linear layer and the population that reads it, forward and backward in one.

For a block of neurons and one sample after the other, the weights of a step's events are added in
registers and the neurons stepped, so that no current is ever stored; what the gradient needs of a
step is kept (`snnir.dynamics.kept`). Backward, the gradients of the sums of some steps stay in the
cache while they are added to the rows of the weights' gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.c_source import c_names, c_operand, c_statements
from snnir.dynamics.kept import gradient_of
from snnir.dynamics.program import Dynamics
from snnir.dynamics.surrogate import Surrogate
from snnir.targets.torch_sim.c_text import filled

#: `$word` alone on a line stands for lines; `NAME` for the name of the functions.
TEMPLATE = r"""
/* ---- NAME: sums over events and the population that reads them ---- */

const int32_t NAME_kept = $count; /* values a step keeps for its gradient */

static ALWAYS_INLINE void NAME_block(
    const int V, int64_t at, int64_t time, int64_t batch, int64_t neurons, const int64_t *begin,
    const int32_t *index, const float *value, const float *w, int64_t stride, const float *bias,
    const float *const *param, const int32_t *per_neuron, float *const *state, float *const *out,
    float *const *kept, float *restrict work, int64_t width, float *room)
{
    const int64_t n = neurons - at < 16 * V ? neurons - at : 16 * V;
    const float *const table = snn_near(V, w + at, &stride, width, room);
    $params
    float b[WIDE] = {0};
    if (bias) memcpy(b, bias + at, n * sizeof(float));
    $rest
    for (int64_t j = 0; j < batch; j++) {
        $load
    }
    for (int64_t r = 0; r < time * batch; r++) {
        const int64_t j = r % batch, own = at * time * batch + r * 16 * V;
        $states
        float in[WIDE];
        $locals
        snn_row(V, begin[r], begin[r + 1], index, value, table, stride, in);
        if (bias)
            for (int i = 0; i < 16 * V; i++) in[i] += b[i];
        for (int i = 0; i < 16 * V; i++) {
            $step
        }
        $outputs
        if (!kept) continue;
        $keep
        (void)own;
    }
    for (int64_t j = 0; j < batch; j++) {
        $store
    }
}

/* Steps neurons over the sums of events. Parts are blocks of WIDE neurons; begin to bias: see
 * snn_gather; state: [batch, neurons], in place; out: [time, batch, neurons]; kept, if any:
 * [blocks, rows, WIDE], of the last block as many vectors as it has; work: [states, batch, WIDE],
 * zeros; width and room: see snn_near. */
void NAME_layer(int64_t first, int64_t last, int64_t time, int64_t batch, int64_t neurons,
                const int64_t *begin, const int32_t *index, const float *value, const float *w,
                int64_t stride, const float *bias, const float *const *param,
                const int32_t *per_neuron, float *const *state, float *const *out,
                float *const *kept, float *work, int64_t width, float *room)
{
    for (int64_t at = first * WIDE; at < last * WIDE; at += WIDE)
        VECTORS((neurons - at + 15) / 16, NAME_block, at, time, batch, neurons, begin, index,
                value, w, stride, bias, param, per_neuron, state, out, kept, work, width,
                room)
    snn_streamed();
}

static ALWAYS_INLINE void NAME_block_back(
    const int V, int64_t at, int64_t rows, int64_t batch, int64_t neurons, const int64_t *starts,
    const int32_t *row, const float *value, int64_t width, int64_t tile,
    const float *const *kept, const float *const *param, const int32_t *per_neuron,
    const float *const *g_out, const int64_t *g_step, float *const *g_state, float *d,
    float *g_bias, float *g, int64_t stride, float *restrict work)
{
    const int64_t n = neurons - at < 16 * V ? neurons - at : 16 * V;
    $params
    double total[WIDE] = {0};
    $rest_gradients
    for (int64_t j = 0; j < batch; j++) {
        $load_gradients
    }
    for (int64_t m = (rows - 1) / tile; m >= 0; m--) {
        const int64_t from = m * tile, until = from + tile < rows ? from + tile : rows;
        for (int64_t r = until - 1; r >= from; r--) {
            const int64_t t = r / batch, j = r % batch, own = at * rows + r * 16 * V;
            float *restrict to = work + (r - from) * 16 * V;
            $gradients
            $given
            for (int i = 0; i < 16 * V; i++) {
                $back
            }
            if (d) snn_put(V, d + r * neurons + at, to, n);
            (void)own;
        }
        for (int64_t r = 0; g_bias && r < until - from; r++)
            for (int i = 0; i < 16 * V; i++) total[i] += work[r * 16 * V + i];
        if (g) snn_columns(V, starts + m * (width + 1), row, value, width, work, g + at, stride);
    }
    for (int64_t j = 0; j < batch; j++) {
        $store_gradients
    }
    for (int64_t i = 0; g_bias && i < n; i++) g_bias[at + i] = (float)total[i];
}

/* Goes back over the steps. Parts are blocks of WIDE neurons; starts to value: what snn_turn makes
 * of the events, `tile` rows at a time; g_out[k]: the elements of step t and sample j of output k
 * from g_step[2 k] t + g_step[2 k + 1] j on; g_state: [batch, neurons], in place. Made, where not
 * null: d [rows, neurons] and g_bias, the gradients of the sums and the bias, and added to g
 * [width, stride] that of the weights. work: [tile + states * batch, WIDE],
 * zeros. */
void NAME_layer_back(int64_t first, int64_t last, int64_t rows, int64_t batch, int64_t neurons,
                     const int64_t *starts, const int32_t *row, const float *value,
                     int64_t width, int64_t tile, const float *const *kept,
                     const float *const *param, const int32_t *per_neuron,
                     const float *const *g_out, const int64_t *g_step, float *const *g_state,
                     float *d, float *g_bias, float *g, int64_t stride, float *work)
{
    for (int64_t at = first * WIDE; at < last * WIDE; at += WIDE)
        VECTORS((neurons - at + 15) / 16, NAME_block_back, at, rows, batch, neurons, starts, row,
                value, width, tile, kept, param, per_neuron, g_out, g_step, g_state, d, g_bias, g,
                stride, work)
}
"""


def fits(program: Dynamics) -> bool:
    """Return whether a population with this program can be joined to the layer before it."""
    return program.dtype == "f32" and len(program.inputs) == 1


def layer_source(program: Dynamics, name: str, surrogate: Surrogate, detach: bool | str) -> str:
    """Return the functions `NAME_layer` and `NAME_layer_back`.

    Args:
        program: The step program; it `fits`.
        name: Identifier of the functions.
        surrogate: What stands for the derivative of a spike.
        detach: Whether resets count as constants.
    """
    safe = c_names(program)
    made = adjoint(safe, surrogate, detach)
    kept, gradient = gradient_of(safe, made, [*made.inputs.values(), *made.states.values()])
    states, params = [state.name for state in safe.states], [param for param, _ in safe.params]
    updates, outputs = dict(safe.updates), [output for output, _ in safe.outputs]
    parts = {
        "params": [
            line
            for k in range(len(params))
            for line in (
                f"float param_{k}[WIDE];",
                f"for (int i = 0; i < 16 * V; i++) param_{k}[i] = "
                f"param[{k}][per_neuron[{k}] && i < n ? at + i : 0];",
            )
        ],
        **_samples("state", len(states), "", "0"),
        **_samples("g_state", len(states), "_gradients", "tile * WIDE"),
        "states": _places("state", len(states)),
        "gradients": _places("g_state", len(states)),
        "locals": [
            f"float {array}_{k}[WIDE];"
            for array, names in (("out", outputs), ("kept", kept))
            for k in range(len(names))
        ],
        "step": [
            f"const float {safe.inputs[0]} = in[i];", *_each("state", states),
            *_each("param", params), *c_statements(safe),
            *(f"out_{k}[i] = {output};" for k, output in enumerate(outputs)),
            *(f"kept_{k}[i] = {value};" for k, value in enumerate(kept)),
            *(f"state_{k}[i] = {c_operand(updates[s], 'float')};" for k, s in enumerate(states)),
        ],
        "outputs": [
            f"snn_put(V, out[{k}] + r * neurons + at, out_{k}, n);" for k in range(len(outputs))
        ],
        "keep": [
            f"snn_stream(V, kept[{k}] + own, kept_{k});"
            for k in range(len(kept))
        ],
        "given": [
            *(f"const float *kept_{k} = kept[{k}] + own;" for k in range(len(kept))),
            *(
                f"float g_out_{k}[WIDE] = {{0}};\nsnn_put(V, g_out_{k}, g_out[{k}] + "
                f"t * g_step[{2 * k}] + j * g_step[{2 * k + 1}] + at, n);"
                for k in range(len(outputs))
            ),
        ],
        "back": [
            *_each("kept", kept), *_each("param", params), *_each("g_out", made.outputs),
            *_each("g_state", [made.updates[state] for state in states]),
            *c_statements(gradient),
            f"to[i] = {c_operand(made.inputs[safe.inputs[0]], 'float')};",
            *(f"g_state_{k}[i] = {c_operand(made.states[s], 'float')};"
              for k, s in enumerate(states)),
        ],
    }  # fmt: skip
    return filled(TEMPLATE.replace("$count", str(len(kept))), parts).replace("NAME", name)


def _each(array: str, names: Sequence[str]) -> list[str]:
    return [f"const float {name} = {array}_{k}[i];" for k, name in enumerate(names)]


def _samples(array: str, count: int, suffix: str, first: str) -> dict[str, list[str]]:
    """Return how a block's part of arrays becomes local for all samples, and comes back."""
    own = [f"all_{k} + j * 16 * V" for k in range(count)]
    whole = [f"{array}[{k}] + j * neurons + at" for k in range(count)]
    return {
        f"rest{suffix}": [
            f"float *restrict all_{k} = work + {first} + {k} * batch * WIDE;" for k in range(count)
        ],
        f"load{suffix}": [
            f"memcpy({a}, {b}, n * sizeof(float));" for a, b in zip(own, whole, strict=True)
        ],
        f"store{suffix}": [
            f"memcpy({b}, {a}, n * sizeof(float));" for a, b in zip(own, whole, strict=True)
        ],
    }


def _places(array: str, count: int) -> list[str]:
    return [f"float *restrict {array}_{k} = all_{k} + j * 16 * V;" for k in range(count)]
