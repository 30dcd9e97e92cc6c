"""Time in NIR files: which dt, and where recurrent edges get the delay the file does not state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snnir.dynamics.models import MODELS
from snnir.errors import error
from snnir.frontends.nir_hdf5 import RawNode
from snnir.frontends.nir_nodes import LONGEST_DELAY, NEURONS
from snnir.frontends.nir_notes import Notes
from snnir.frontends.nir_record import RECORD, FileRecord, node_record
from snnir.frontends.nir_structure import Flat, feedback_edges
from snnir.ir.origins import Origin
from snnir.semantics import Semantics

#: Type of the nodes inserted for recurrent delays.
DELAY = "@delay"
#: Taken where a platform's own default cannot be meant.
FALLBACK_DT = 1e-4

_LINEAR_MAPS = (
    "Affine",
    "Linear",
    "Scale",
    "Conv1d",
    "Conv2d",
    "Flatten",
    "SumPool2d",
    "AvgPool2d",
)


def choose_dt(
    flat: Flat, semantics: Semantics, dt: float | None, record: FileRecord, notes: Notes
) -> tuple[Semantics, Origin]:
    """Return the semantics with the dt that holds: the caller's, the file's, or the preset's.

    The second result says which.

    A preset's default longer than the shortest time constant cannot be meant (the platforms then
    expect the caller to pass dt); 1e-4 s is taken instead, with a warning.
    """
    if dt is not None:
        if not (np.isfinite(dt) and dt > 0):
            raise error("SNN303", f"dt is {dt}, must be a positive number of seconds")
        asked = Origin(float(dt), Origin.GIVEN, "option 'dt'")
        if record.dt is not None and record.dt != dt:
            asked = Origin(record.dt).changed(float(dt), asked.by)
        return replace(semantics, dt=float(dt)), asked
    if record.dt is not None and record.dt > 0:
        return replace(semantics, dt=record.dt), Origin(record.dt, Origin.GIVEN, RECORD)
    shortest = _shortest_time(flat) * semantics.time_unit
    chosen = semantics.dt
    reason = f"the default of '{semantics.name}'"
    if shortest < chosen and shortest > FALLBACK_DT:
        reason = (
            f"because {semantics.dt:g} s, the default of '{semantics.name}', exceeds the shortest "
            f"time constant {shortest:g} s"
        )
        chosen = FALLBACK_DT
    notes.assume(f"no dt was given; took {chosen:g} s, {reason}; set it with --dt", code="SNN301")
    return replace(semantics, dt=chosen), Origin(chosen, Origin.ASSUMED, reason)


def _shortest_time(flat: Flat) -> float:
    shortest = float("inf")
    for node in flat.nodes.values():
        for name in MODELS[NEURONS[node.type]].time_constants if node.type in NEURONS else ():
            value = node.fields.get(name)
            if value is not None and not isinstance(value, str) and value.size:
                shortest = min(shortest, float(np.abs(value).min()))
    return shortest


def insert_delays(flat: Flat, semantics: Semantics, record: FileRecord, notes: Notes) -> bool:
    """Put an explicit delay on every recurrent edge; return whether the semantics decided any.

    A file written by snnir says where; otherwise the edges that lead back towards the inputs are
    delayed. If the bias of a recurrent synapse acts from the start, the delay sits before the
    synapse, otherwise behind it, where the first step's recurrent current is 0.
    """
    if record.holds:
        for name in list(flat.nodes):
            for source, steps in _recorded_delays(flat, name, notes).items():
                _delay_edge(flat, source, name, steps)
    own = {
        name
        for name, node in flat.nodes.items()
        if _delays_itself(node, semantics, recorded_steps(node, record, notes))
    }
    back = feedback_edges(flat, own)
    targets = flat.targets()
    done: set[tuple[str, str]] = set()
    for source, target in back:
        edge = (source, target)
        if semantics.recurrent_bias != "from-step-1":
            edge = _before_synapse(flat, targets, source, target)
        if edge not in done:
            done.add(edge)
            _delay_edge(flat, *edge, semantics.recurrent_delay)
        if semantics.recurrent_bias == "never":
            _drop_biases(flat, source, semantics, notes)
    if done:
        listed = ", ".join(sorted(f"{a} -> {b}" for a, b in done)[:3])
        more = f" and {len(done) - 3} more" if len(done) > 3 else ""
        steps = semantics.recurrent_delay
        notes.assume(f"recurrent edges are delayed by {steps} step(s): {listed}{more}")
    return bool(done)


def _recorded_delays(flat: Flat, name: str, notes: Notes) -> dict[str, int]:
    delays = node_record(flat.nodes[name], notes).get("delays", {})
    if not isinstance(delays, dict):
        return {}
    return {
        source: steps
        for source, steps in delays.items()
        if source in flat.sources[name] and isinstance(steps, int) and steps > 0
    }


def recorded_steps(node: RawNode, record: FileRecord, notes: Notes) -> Any:
    """Return the steps of a delay whose seconds mean something else, as the record has them.

    An int64 array that is not negative, or None: the node's seconds are its steps.
    """
    if node.type != "Delay" or not record.holds:
        return None
    value = node_record(node, notes).get("steps")
    try:
        steps = np.asarray(value)
    except (ValueError, OverflowError):  # lists of different lengths, numbers of 100 digits
        return None
    whole = value is not None and steps.dtype.kind == "i" and steps.size
    if not whole or steps.min() < 0 or steps.max() > LONGEST_DELAY:
        return None
    return steps.astype(np.int64)


def _delays_itself(node: RawNode, semantics: Semantics, recorded: Any) -> bool:
    if node.type == DELAY:
        return True
    if recorded is not None:
        return bool(np.all(recorded >= 1))
    value = node.fields.get("delay")
    if node.type != "Delay" or value is None or isinstance(value, str) or not value.size:
        return False
    return bool(np.all(np.rint(value * semantics.time_unit / semantics.dt) >= 1))


def _before_synapse(
    flat: Flat, targets: dict[str, list[str]], source: str, target: str
) -> tuple[str, str]:
    """Move a delay upstream over linear maps that only this edge uses."""
    seen = {source}
    while (
        flat.nodes[source].type in _LINEAR_MAPS
        and len(flat.sources[source]) == 1
        and targets[source] == [target]
        and flat.sources[source][0] not in seen
    ):
        source, target = flat.sources[source][0], source
        seen.add(source)
    return source, target


def _drop_biases(flat: Flat, source: str, semantics: Semantics, notes: Notes) -> None:
    """Zero the biases of the linear maps on a recurrent path, from its end up to the neuron."""
    seen: set[str] = set()
    while source not in seen and flat.nodes[source].type in (*_LINEAR_MAPS, DELAY):
        seen.add(source)
        node = flat.nodes[source]
        bias = node.fields.get("bias")
        if bias is not None and not isinstance(bias, str) and np.any(bias):
            node.fields["bias"] = np.zeros_like(bias)
            notes.assume(f"its bias is left out, as '{semantics.name}' does", source)
        if len(flat.sources[source]) != 1:
            return
        source = flat.sources[source][0]


def _delay_edge(flat: Flat, source: str, target: str, steps: int) -> None:
    name, number = f"{target}.delay", 0
    while name in flat.nodes:
        number += 1
        name = f"{target}.delay_{number}"
    flat.nodes[name] = RawNode(name, DELAY, {"steps": np.array(steps)})
    flat.sources[name] = [source]
    flat.sources[target] = [name if s == source else s for s in flat.sources[target]]
