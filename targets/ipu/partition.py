"""The partitioner: how values are cut and sent, and which tile has which parts."""

from __future__ import annotations

from snnir.errors import Diagnostic
from snnir.ir.graph import Value
from snnir.streams import Kind
from snnir.targets.ipu.machine import Machine
from snnir.targets.ipu.memory import BITS, VALUES, Cut, Stream
from snnir.targets.ipu.plan import Placement, Plan
from snnir.targets.ipu.structure import Structure


def streams_of(structure: Structure, batch: int, per: dict[str, int]) -> dict[Value, Stream]:
    """Return every kept value, spikes as bits."""
    found = {}
    for stage in structure.stages.values():
        for value in stage.results:
            signal = structure.graph.signals[value]
            kind = structure.layout.ctype(value)
            ctype = {"uint8_t": "float", "int32_t": "int"}.get(kind, kind)
            form = BITS if signal.kind is Kind.SPIKES else VALUES
            ident = structure.layout.ident(value)
            name = value.node if not value.result else f"{value.node}#{value.result}"
            cut = Cut(stage.size, per[stage.name])
            found[value] = Stream(name, ident, form, ctype, cut, batch)
    return found


def partition(
    structure: Structure, machine: Machine, batch: int, replicas: int, half: bool
) -> tuple[Plan | None, list[Diagnostic]]:
    """Return a plan, or why there is none."""
    per, places = {}, []
    for group in structure.groups:
        size = structure.stages[group[0]].size
        each = max(1, -(-size // (6 * 8)))
        each = each if each <= 32 else -(-each // 32) * 32
        parts = -(-size // each)
        tiles = -(-parts // 6)
        places.append(Placement(tuple(group), each, 6, tuple(range(tiles))))
        per.update(dict.fromkeys(group, each))
    streams = streams_of(structure, batch, per)
    return Plan(structure, machine, streams, tuple(places), batch, replicas, half), []
