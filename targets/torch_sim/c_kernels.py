"""The C side of the torch target: scans of step programs, and sums over events.

Every function works on plain arrays and on a range `[first, last)` of independent parts, so that
threads share one call. No operation is contracted (`-ffp-contract=off`): results equal those of
separate roundings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from snnir.dynamics.adjoint import Adjoint, adjoint
from snnir.dynamics.c_source import c_names, c_operand, c_statements, c_type
from snnir.dynamics.program import Dynamics, Operand, only
from snnir.dynamics.surrogate import Surrogate
from snnir.targets.torch_sim.c_head import HEAD
from snnir.targets.torch_sim.c_layers import fits, layer_source


def c_source(
    programs: Mapping[str, Dynamics], surrogate: Surrogate, detach: bool | str,
    joined: Collection[str] = (),
) -> str:  # fmt: skip
    """Return the kernels of a network.

    Args:
        programs: Step programs by the name of their functions.
        surrogate: What stands for the derivative of a spike.
        detach: Whether resets count as constants.
        joined: Programs of populations that a linear layer comes before.
    """
    parts = [HEAD]
    for name, program in programs.items():
        safe = c_names(program)
        parts.append(_forward(safe, name))
        parts += [_backward(safe, name, surrogate, detach, params) for params in (False, True)]
        if name in joined and fits(program):
            parts.append(layer_source(program, name, surrogate, detach))
    return "\n".join(parts)


def _forward(program: Dynamics, name: str) -> str:
    real = c_type(program)
    states = [state.name for state in program.states]
    updates = dict(program.updates)
    step = [
        *_loads(program.inputs, "in", real),
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
    live = only(made.program, wanted)
    needed = {arg for let in live.body for arg in let.args} | set(wanted)
    states = [state.name for state in program.states]
    loads = [
        *_loads(program.inputs, "in", real),
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


def _loads(names: tuple[str, ...], array: str, real: str) -> list[str]:
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
