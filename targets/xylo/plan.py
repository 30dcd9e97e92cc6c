"""From a graph to the integers of a chip, and what went into them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph
from snnir.targets.xylo.chips import Chip
from snnir.targets.xylo.configuration import FORMAT
from snnir.targets.xylo.layout import Group, Layout, check_counts, lay_out
from snnir.targets.xylo.quantizer import Quantized, quantize, wanted_of, wire_copies
from snnir.targets.xylo.rehearsal import Seen, assumed_events, rehearse, room_for
from snnir.targets.xylo.structure import Output, find_structure
from snnir.targets.xylo.tuning import tuned

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Plan:
    """A graph on a chip.

    Attributes:
        layout: Where everything is.
        hidden, readout: The integers.
        seen: What populations did on `measured` (given) or else assumed events.
    """

    layout: Layout
    hidden: Quantized
    readout: Quantized
    seen: dict[str, Seen]
    measured: bool = False

    def block(self, name: str) -> Quantized:
        """Return the integers of a block."""
        return self.hidden if name == "hidden" else self.readout

    def latency(self, output: Output) -> int:
        """Return by how many steps the chip's output is later than the graph's."""
        structure = self.layout.structure
        group = self.readout_of(output)
        own = structure.populations[output.population].latency
        return own + int(group.population is None) - output.delay

    def readout_of(self, output: Output) -> Group:
        """Return the readout neurons of an output."""
        return self.layout.readout_of(output.population)


def fits(graph: Graph, chip: Chip, tails: str) -> tuple[Layout | None, list[Diagnostic]]:
    """Return the layout of a graph, or everything that does not fit."""
    structure = find_structure(graph)
    problems = structure.problems + check_counts(structure, chip)
    if problems:
        return None, problems
    layout, left = lay_out(structure, chip, tails)
    return layout, left


def make_plan(layout: Layout, events: Array | None) -> Plan:
    """Return the integers of a layout that fits.

    Args:
        layout: What goes where.
        events: [T, B, channels] by which decays are chosen and room for states is measured; None
            for the nearest decays, and room for assumed ones.
    """
    if events is not None:
        layout = tuned(layout, events)
    given = events is not None
    seen = rehearse(
        layout, assumed_events(layout.structure.graph.inputs) if events is None else events
    )
    room = room_for(layout, seen, given)
    inputs_copied = any(layout.copy_of(name) for name in layout.channels)
    hidden = quantize(wanted_of(layout, "hidden", room), same=inputs_copied)
    readout = quantize(wanted_of(layout, "readout", room), same=False)
    wire_copies(layout, hidden, readout)
    return Plan(layout, hidden, readout, seen, given)


# --- config.json ---------------------------------------------------------------------------------


def json_text(value: Any, depth: int = 0) -> str:
    """Return JSON with a line per entry of objects, and lists on one line."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    pad = " " * (depth + 1)
    lines = (f"{pad}{json.dumps(key)}: {json_text(each, depth + 1)}" for key, each in value.items())
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def config_of(plan: Plan) -> dict[str, Any]:
    """Return the configuration; `configuration.read_config` reads it."""
    layout = plan.layout
    hidden, readout = plan.hidden, plan.readout
    dash_syns, dash_mem = _dashes(layout, "hidden")
    dash_syns_out, dash_mem_out = _dashes(layout, "readout")
    return {
        "format": FORMAT,
        "chip": layout.chip.name,
        "part": layout.chip.part,
        "dt": layout.structure.graph.dt,
        "inputs": _inputs(layout),
        "outputs": [_output(plan, output) for output in layout.structure.outputs],
        "populations": [_population(layout, g) for g in layout.groups.values() if g.population],
        "synapses_in": _synapses(hidden.weights["inp"]),
        "synapses_rec": _synapses(hidden.weights["rec"]),
        "synapses_out": _synapses(readout.weights["out"]),
        "aliases": [[] for _ in hidden.threshold],
        "threshold": hidden.threshold.tolist(),
        "threshold_out": readout.threshold.tolist(),
        "has_bias": bool(hidden.bias.any() or readout.bias.any()),
        "bias": hidden.bias.tolist(),
        "bias_out": readout.bias.tolist(),
        "weight_shift_inp": hidden.shifts["inp"],
        "weight_shift_rec": hidden.shifts["rec"],
        "weight_shift_out": readout.shifts["out"],
        "dash_mem": dash_mem,
        "dash_mem_out": dash_mem_out,
        "dash_syns": dash_syns,
        "dash_syns_out": dash_syns_out,
    }


def _synapses(weights: Array) -> list[list[list[int]]]:
    return [
        [[int(target), 0, int(row[target])] for target in np.flatnonzero(row)] for row in weights
    ]


def _dashes(layout: Layout, block: str) -> tuple[list[list[int]], list[int]]:
    """Return the decays of currents and membranes; those of copies last one step."""
    syn = np.ones(layout.count(block), np.int64)
    mem = np.zeros(layout.count(block), np.int64)
    for group in layout.of_block(block):
        if group.population is not None:
            own = layout.synapses[group.name].fit
            syn[group.span], mem[group.span] = own.dash_syn, own.dash_mem
    return [[value] for value in syn.tolist()], mem.tolist()


def _inputs(layout: Layout) -> list[dict[str, Any]]:
    return [
        {"name": name, "block": "input", "first": first,
         "shape": list(layout.structure.graph.signal(name).shape)}
        for name, first in layout.channels.items()
    ]  # fmt: skip


def _population(layout: Layout, group: Group) -> dict[str, Any]:
    assert group.population is not None
    return {
        "name": group.name,
        "block": group.block,
        "first": group.first,
        "shape": list(layout.structure.graph.signal(group.name).shape),
        "latency": group.population.latency,
    }


def _output(plan: Plan, output: Output) -> dict[str, Any]:
    group = plan.readout_of(output)
    fires = plan.layout.structure.populations[output.population].fires
    facts = {
        "name": output.name,
        "block": "readout",
        "first": group.first,
        "shape": list(output.shape),
        "latency": plan.latency(output),
        "read": "spikes" if fires else "membrane",
    }
    if not fires:
        facts["unit"] = (1.0 / plan.readout.scale[group.span]).tolist()
    return facts
