"""What the folder and its report say about a network on the chip."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from snnir.ir.graph import Graph
from snnir.ir.timing import Delay
from snnir.linear_forms import LINEAR
from snnir.loss_report import LossReport, NodeLoss, report
from snnir.pipeline import APPROXIMATE
from snnir.reporting.pictures import Pictures
from snnir.target import Table
from snnir.targets.bss2.chips import BUSES, HEMISPHERES
from snnir.targets.bss2.emulation.readout import MOST_CADC
from snnir.targets.bss2.mapping.calibration import Array
from snnir.targets.bss2.picture import chip_picture
from snnir.targets.bss2.plan import Plan

#: Executions that are drawn; the others are in the tables.
_MOST_DRAWN = 8


def tables(plan: Plan) -> dict[str, Table]:
    """Return the report's tables: populations, and the use of the chip."""
    populations = (
        "population", "neurons", "circuits each", "executions", "threshold distance (LSB)",
        "capacitance", "largest weight", "worst weight error", "became 0",
        "worst potential error (LSB)",
    )  # fmt: skip
    use = ("execution", "hemisphere", "bus", "rows of 64", "synapses", "events per spike")
    return {
        "Populations on the chip": (populations, list(_populations(plan))),
        "Use of the buses": (use, list(_use(plan))),
    }


def _populations(plan: Plan) -> Iterator[tuple[object, ...]]:
    for name, own in plan.targets.items():
        sites = [
            (number, site)
            for number, execution in enumerate(plan.executions)
            for site in execution.sites
            if site.population == name
        ]
        circuits = sorted({len(site.circuits) for _, site in sites})
        distance = "-" if own.threshold is None else _span(own.threshold - own.leak)
        yield (
            name, len(sites), ", ".join(map(str, circuits)),
            ", ".join(map(str, sorted({number for number, _ in sites}))), distance,
            _span(own.capacitance), own.largest, f"{own.weight_error:.2f}", own.vanished,
            f"{own.potential_error:.2f}",
        )  # fmt: skip


def _span(values: Array) -> str:
    low, high = int(values.min(initial=2**31)), int(values.max(initial=-(2**31)))
    return str(low) if low == high else f"{low} to {high}"


def _use(plan: Plan) -> Iterator[tuple[object, ...]]:
    for number, execution in enumerate(plan.executions):
        counts = [len(labels) for labels in execution.labels.values()]
        events = f"{np.mean(counts):.2f}" if counts else "-"
        for hemisphere in range(HEMISPHERES):
            for bus in range(BUSES):
                rows = sum(
                    1 for h, row in execution.rows if h == hemisphere and row // 2 % BUSES == bus
                )
                synapses = execution.synapses
                mine = (synapses.hemisphere == hemisphere) & (synapses.row // 2 % BUSES == bus)
                yield number, hemisphere, bus, rows, int(mine.sum()), events


def pictures(plan: Plan) -> Pictures:
    """Return the chip as every execution configures it, the first few of them."""
    count = len(plan.executions)
    titles = [f"The chip in execution {number} of {count}" for number in range(count)]
    if count == 1:
        titles = ["Neurons and synapses on the chip"]
    pairs = zip(titles[:_MOST_DRAWN], plan.executions[:_MOST_DRAWN], strict=True)
    return Pictures({title: partial(chip_picture, execution, title) for title, execution in pairs})


def losses_of(plan: Plan, name: str) -> list[str]:
    """Return what a population of the chip does otherwise than the model, one sentence each."""
    population, own = plan.model.populations[name], plan.targets[name]
    found = list(population.neurons.losses)
    if own.weight_error:
        vanished = f", {own.vanished} of them to 0" if own.vanished else ""
        found.append(
            f"weights are rounded to 6 bits and a sign, by up to {own.weight_error:.2f}{vanished}"
        )
    if own.potential_error > 1e-9:
        found.append(f"potentials are rounded by up to {own.potential_error:.2f} LSB")
    if population.neurons.spiking and not population.neurons.refractory:
        found.append(f"is refractory for {own.refractory:g} us")
    if np.any(population.constant):
        source = "a background generator" if plan.generators else "the host"
        every = plan.period / plan.step_ticks
        found.append(f"its bias is an event of {source} every {every:.6g} steps")
    if not population.neurons.spiking:
        found.append(_shown(plan, name))
    if plan.model.graph.record_offset and name in {o.population for o in plan.model.outputs}:
        found.append(f"is recorded at once, not {plan.model.graph.record_offset} step(s) later")
    found.append("calibration leaves what it leaves: see the modes mismatch and noise")
    return found


def _shown(plan: Plan, name: str) -> str:
    """Return how the membranes of a population are read, and how far."""
    own = plan.targets[name]
    low, high = own.offset.max(), (own.offset + MOST_CADC * own.factor).min()
    text = f"its membrane is read with 8 bits, from {low:.4g} to {high:.4g}, and cut off there"
    known = name in dict(plan.wishes.reach)
    return text if known else f"{text} (--set calibrate=... fits that to inputs)"


def loss_report(graph: Graph, plan: Plan) -> LossReport:
    """Return what a configured chip does otherwise than its graph, by population."""
    special = [
        NodeLoss(name, APPROXIMATE, "; ".join(losses_of(plan, name))) for name in plan.targets
    ]
    special += [
        NodeLoss(name, APPROXIMATE, f"its {node.op.longest} step(s) of a recurrence are dropped")
        for name, node in graph.nodes.items()
        if isinstance(node.op, Delay) and node.op.longest
    ]
    special += [
        NodeLoss(name, APPROXIMATE, "its weights are rounded, see the populations it leads to")
        for name, node in graph.nodes.items()
        if isinstance(node.op, LINEAR) and node.op.tensors()
    ]
    return report(graph, "bss2", special)
