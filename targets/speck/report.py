"""What the folder and its report say about a configured chip."""

from __future__ import annotations

from typing import Any

from snnir.reporting.pictures import Pictures
from snnir.target import Table
from snnir.targets.speck.picture import placement_picture
from snnir.targets.speck.plan import Plan

OPEN = [
    "the order in which an event's neurons are visited (here: row, column, channel)",
    "a state below its lower bound is set to the bound",
    "a tick of the slow clock that takes a neuron to its threshold makes it spike",
]


def semantics_facts(plan: Plan) -> dict[str, Any]:
    """Return the content of `semantics.json`: how the emulated chip computes."""
    chip = plan.network.chip
    layers = {}
    for name, core in plan.placement.cores.items():
        layer = plan.network.cores[core]
        layers[name] = {
            "core": core,
            "threshold": layer.threshold_high,
            "lower_bound": layer.threshold_low,
            "reset": "to zero" if layer.return_to_zero else "subtract threshold",
            "bias_at_each_tick": layer.leak_enable,
        }
    return {
        "event": "state = clip(state + weight, lower_bound, 32767) for every neuron it reaches",
        "spike": "once for each event, where state >= threshold; then the reset",
        "order_of_input": "within a step by row, column, channel; a count n is n events in a row",
        "order_of_neurons": "row, column, channel",
        "order_of_spikes": "one queue, first in first out, empty before the next input event",
        "slow_clock_ticks_per_step": plan.wishes.ticks_per_step,
        "slow_clock": "ticks come before the events of their step, cores in order",
        "assumed": OPEN,
        "cores_that_may_reorder_events": [
            core for core in plan.placement.cores.values() if core in chip.parallel_cores
        ],
        "layout_compared_with_vendor": chip.verified,
        "not_in_memory_bin": ["readout"] if plan.network.readout else [],
        "layers": layers,
    }


def pictures(plan: Plan) -> Pictures:
    """Return the report's picture: layers on cores."""
    title = f"Layers on the cores of {plan.network.chip.name}"
    return Pictures({title: lambda: placement_picture(plan)})


def tables(plan: Plan) -> dict[str, Table]:
    """Return the report's tables: placement and memory, and what became of the numbers."""
    chip = plan.network.chip
    placed: list[tuple[Any, ...]] = []
    rounded: list[tuple[Any, ...]] = []
    for name, layer in plan.model.layers.items():
        core = plan.placement.cores[name]
        geometry = plan.network.cores[core].geometry
        needed, there = geometry.words, chip.cores[core]
        pairs = [(getattr(needed, m), getattr(there, m)) for m in ("kernel", "neuron", "bias")]
        shares = [f"{words:,} ({100 * words // room} %)" for words, room in pairs]
        kernel = f"{geometry.kernel}x{geometry.kernel}"
        placed.append((name, core, str(geometry.source), kernel, str(geometry.target), *shares))
        found = plan.roundings[name]
        rounded.append(
            (
                name, f"{found.scale:.6g}", found.limited_by, found.threshold,
                found.lowest, f"{found.worst:.3f}", f"{found.mean:.3f}",
                f"{found.vanished} of {found.weights}", len(layer.neuron.losses),
            )
        )  # fmt: skip
    memory = ("layer", "core", "input", "kernel", "output", "kernel words", "states", "biases")
    numbers = (
        "layer", "scale", "limited by", "threshold", "lower bound", "worst error (steps)",
        "mean error", "became 0", "changed rules",
    )  # fmt: skip
    return {
        f"Cores of {chip.name}": (memory, placed),
        "Weights and thresholds": (numbers, rounded),
    }
