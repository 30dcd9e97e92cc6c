"""What a population loses on the chip, in numbers and sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.lif import LifStep
from snnir.loss_report import LossReport, NodeLoss, report
from snnir.pipeline import APPROXIMATE, EXACT, EXACT_REAL
from snnir.targets.xylo.emulator import LOW, MOST_EVENTS, MOST_SPIKES
from snnir.targets.xylo.layout import Group, fan_out
from snnir.targets.xylo.plan import Plan
from snnir.targets.xylo.quantizer import lines_of
from snnir.targets.xylo.response import decays

Array = npt.NDArray[Any]


def loss_report(plan: Plan) -> LossReport:
    """Return the report of a graph on the chip; nothing of a population is exact."""
    structure = plan.layout.structure
    entries = [
        NodeLoss(name, EXACT, f"whole events, at most {MOST_EVENTS} per step and channel")
        for name in structure.graph.inputs
    ]
    users: dict[str, list[str]] = {}
    for name, population in structure.populations.items():
        entries.append(NodeLoss(name, APPROXIMATE, "; ".join(lost(plan, name))))
        for node in _before(plan, name):
            users.setdefault(node, []).append(population.name)
    for node, names in users.items():
        what = f"folded into what {', '.join(names)} reads"
        entries.append(NodeLoss(node, EXACT_REAL, what))
    return report(structure.graph, "xylo", entries)


def _before(plan: Plan, name: str) -> list[str]:
    """Return the linear nodes between a population and its sources."""
    structure, found = plan.layout.structure, dict[str, None]()
    pending = [value.node for value in structure.graph.nodes[name].operands]
    while pending:
        node = pending.pop()
        if node in structure.reads and node not in found:
            found[node] = None
            pending += [value.node for value in structure.graph.nodes[node].operands]
    return list(found)


def lost(plan: Plan, name: str) -> list[str]:
    """Return what a population loses, one sentence part each."""
    group = plan.layout.groups[name]
    assert group.population is not None
    rules = group.population.rules
    found = [*_timing(plan, group), *_numbers(plan, group), *_firing(group, rules)]
    found += _depth(plan, group)
    if rules.clamp != "none":
        found.append("its membrane has no lower bound but that of 16 bits")
    if rules.refractory:
        found.append(f"its {rules.refractory} refractory steps are left out")
    if rules.start:
        found.append("it starts at 0 instead of at its leak target")
    return found


def _depth(plan: Plan, group: Group) -> list[str]:
    """Return whether a membrane got where 16 bits do not reach."""
    own, scale = plan.layout.synapses[group.name], plan.block(group.block).scale[group.span]
    lowest = -LOW / scale
    if not (plan.seen[group.name].depth > lowest).any():
        return []
    return [f"its membrane saturates {(lowest / own.threshold).min():.0f} thresholds below zero"]


def _timing(plan: Plan, group: Group) -> list[str]:
    assert group.population is not None
    lag, found = group.population.latency, []
    if lag:
        found.append(
            f"{abs(lag)} step{'s' if abs(lag) > 1 else ''} {'late' if lag > 0 else 'early'}"
        )
    own = [o for o in plan.layout.structure.outputs if o.population == group.name]
    for output in own:
        if plan.readout_of(output).population is None:
            found.append(
                f"output '{output.name}' repeats it {plan.latency(output)} steps late, at most one "
                "spike per step"
            )
    return found


def _numbers(plan: Plan, group: Group) -> list[str]:
    own = plan.layout.synapses[group.name]
    errors = [weight_errors(plan, group, source) for source in own.matrices]
    unit = "threshold" if group.population and group.population.fires else "membrane's range"
    found = []
    if errors:
        mean = max(error["mean_error"] for error in errors)
        most = max(error["max_error"] for error in errors)
        text = f"weights of 8 bits, off by {mean:.2g} of the {unit} on average, {most:.2g} at most"
        gone = sum(error["to_zero"] for error in errors)
        if gone:
            text += f" ({gone} of {sum(error['connections'] for error in errors)} became 0)"
        found.append(text)
    response = float(own.fit.error.max(initial=0.0))
    if response > 0.0:
        found.append(f"answers to events {_percent(response)} off, from decays by shifts")
    reset = float(own.fit.reset_error.max(initial=0.0))
    if reset > 0.0:
        found.append(f"what is left of a reset is {_percent(reset)} off")
    if own.direct:
        found.append("copies stand in for the synapse it does not have")
    elif group.population and group.population.rules.synapse == "none" and response > 0.0:
        found.append("it has no synapse; the chip's spreads events over some steps")
    bias = float(own.fit.bias_error.max(initial=0.0))
    if bias > 0.0:
        found.append(f"its course under constant input is {_percent(bias)} off")
    return found


def _firing(group: Group, rules: LifStep) -> list[str]:
    if rules.fire == "never":
        return ["its membrane is in whole units of 16 bits"]
    found = []
    if rules.reset in ("zero", "to", "zero-then-add"):
        found.append("a spike subtracts the threshold: what exceeds it, or lies below, is kept")
    elif rules.own_amount:
        found.append("a spike subtracts the threshold instead of its own amount")
    if rules.reset_timing != "same-step":
        found.append("it resets in the step of the spike")
    if group.block == "hidden" and not rules.multi:
        found.append(f"may fire up to {MOST_SPIKES} times in a step")
    if group.block == "hidden" and rules.multi and rules.spike_cap != MOST_SPIKES:
        found.append(f"fires at most {MOST_SPIKES} times in a step")
    if group.block == "readout" and rules.multi:
        found.append("fires at most once in a step; the rest follows in the next")
    return found


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.2g} %"


def weight_errors(plan: Plan, group: Group, source: str) -> dict[str, Any]:
    """Return how far the weights from one source are off, in thresholds of their neurons.

    Returns:
        connections, max_error, mean_error, and to_zero: how many were not 0 and are.
    """
    own, block = plan.layout.synapses[group.name], plan.block(group.block)
    key, lines = lines_of(plan.layout, source, group.block)
    whole = block.weights[key][lines, group.span]
    wanted, scale = own.matrices[source], block.scale[group.span]
    unit = own.threshold
    if np.isinf(unit).any():
        unit = block.threshold[group.span] / scale
    error = np.abs(whole * 2.0 ** block.shifts[key] / scale - wanted) / unit
    there = wanted != 0
    return {
        "connections": int(there.sum()),
        "max_error": float(error.max(initial=0.0)),
        "mean_error": float(error[there].mean()) if there.any() else 0.0,
        "to_zero": int((there & (whole == 0)).sum()),
    }


def decay_errors(plan: Plan, group: Group) -> dict[str, Any]:
    """Return for synapse and membrane the factor per step on the chip and what it is off by."""
    assert group.population is not None
    fit, shape = plan.layout.synapses[group.name].fit, (group.size,)
    found: dict[str, Any] = {}
    for name, dash, factor in zip(
        ("synapse", "membrane"), (fit.dash_syn, fit.dash_mem), decays(group.population.op),
        strict=True,
    ):  # fmt: skip
        chip = 1.0 - 2.0 ** -dash.astype(np.float64)
        found[name] = {"dash": dash.tolist(), "factor": chip.tolist()}
        if factor is not None:
            graph_shape = plan.layout.structure.graph.signal(group.name).shape
            given = np.broadcast_to(factor, graph_shape).reshape(shape)
            found[name]["error"] = [float(f"{e:.6g}") for e in chip - given]
    return found


# --- quantization.json ---------------------------------------------------------------------------


def report_of(plan: Plan) -> dict[str, Any]:
    """Return what was done to the numbers; errors of weights are in thresholds of their neuron."""
    layout = plan.layout
    chip = layout.chip
    hidden = layout.of_block("hidden")
    return {
        "chip": chip.name,
        "used": {
            "input channels": [len(plan.hidden.weights["inp"]), chip.inputs],
            "hidden neurons": [layout.count("hidden"), chip.hidden],
            "of them copies": sum(group.size for group in hidden if group.population is None),
            "readout neurons": [layout.count("readout"), chip.outputs],
            "recurrent connections": [
                sum(int(fan_out(layout, group).sum()) for group in hidden), chip.connections,
            ],
        },
        "room for states": "measured on given events" if plan.measured else "random events",
        "weight_shift": {**plan.hidden.shifts, **plan.readout.shifts},
        "populations": {
            group.name: {**_facts(plan, group), "lost": lost(plan, group.name)}
            for group in layout.groups.values()
            if group.population is not None
        },
        "copies": {
            group.name: {"block": group.block, "first": group.first, "neurons": group.size}
            for group in layout.groups.values()
            if group.population is None
        },
    }  # fmt: skip


def _facts(plan: Plan, group: Group) -> dict[str, Any]:
    assert group.population is not None
    own, block = plan.layout.synapses[group.name], plan.block(group.block)
    return {
        "block": group.block,
        "first": group.first,
        "neurons": group.size,
        "latency": group.population.latency,
        "weights": {s: weight_errors(plan, group, s) for s in own.matrices},
        "decays": decay_errors(plan, group),
        "response_error": _short(own.fit.error),
        "reset_error": _short(own.fit.reset_error),
        "bias_error": _short(own.fit.bias_error),
        "scale": _short(block.scale[group.span]),
    }


def _short(values: Array) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
