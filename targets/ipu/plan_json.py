"""`plan.json`: the plan for people and programs that check it; see docs/ipu-format.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from snnir.targets.ipu.cost import assumptions, level_costs
from snnir.targets.ipu.machine import CLOCK_HZ, WORKERS
from snnir.targets.ipu.memory import Array, Field, Stream
from snnir.targets.ipu.plan import Gathering, Image, Plan
from snnir.targets.ipu.structure import INPUT, Stage

#: The format's name and version.
SCHEMA = "snnir.ipu-plan/1"

Json = dict[str, Any]


def plan_text(plan: Plan, title: str, options: Mapping[str, Any]) -> str:
    """Return the file: one line for each stage, value, image and level."""
    facts = plan_facts(plan, title, options)
    lines = []
    for key, value in facts.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(item) for item in value)
            lines.append(f' "{key}": [\n  {rows}\n ]' if value else f' "{key}": []')
        else:
            lines.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def plan_facts(plan: Plan, title: str, options: Mapping[str, Any]) -> Json:
    """Return everything of a plan in JSON's terms.

    Args:
        plan: The plan.
        title: Name of the model.
        options: Of the target.
    """
    costs = level_costs(plan)
    step = sum(cost.total for cost in costs)
    images = [_image(plan, image) for image in plan.images.values()]
    gathered = [_gathering(plan, one) for one in plan.gatherings.values()]
    sent = [(1, image) for image in images] + [(one["times"], one) for one in gathered]
    return {
        "schema": SCHEMA,
        "model": title,
        "machine": _machine(plan),
        "options": dict(options),
        "stages": [_stage(plan, stage) for stage in plan.stages.values()],
        "values": [
            _value(plan.streams[value]) for stage in plan.stages.values() for value in stage.results
        ],
        "images": images,
        "gathered": gathered,
        "memory": _memory(plan),
        "exchange": {
            "received": sum(times * one["received"] for times, one in sent),
            "between_ipus": sum(times * one["between_ipus"] for times, one in sent),
        },
        "levels": [{**asdict(cost), "total": cost.total} for cost in costs],
        "cycles_per_step": step,
        "steps_per_second": round(CLOCK_HZ / step, 1) if step else None,
        "assumptions": [asdict(item) for item in assumptions(plan.activity)],
    }


def _machine(plan: Plan) -> Json:
    machine = plan.machine
    return {
        "ipus": machine.ipus, "replicas": plan.replicas, "tiles_per_ipu": machine.tiles,
        "bytes_per_tile": machine.tile_bytes, "reserve": machine.reserve,
        "usable_bytes_per_tile": machine.usable, "workers": WORKERS, "clock_hz": CLOCK_HZ,
        "batch": plan.batch,
    }  # fmt: skip


def _stage(plan: Plan, stage: Stage) -> Json:
    place, computes = plan.placement[stage.name], stage.kind != INPUT
    cut = plan.streams[stage.results[0]].cut
    leaves = plan.vertices(stage.name).leaves if computes else []
    return {
        "name": stage.name, "kind": stage.kind, "nodes": list(stage.inside), "level": stage.level,
        "size": cut.size, "per": cut.per, "parts": cut.parts, "workers": place.workers,
        "tiles": tile_runs(place.tiles),
        "results": [plan.streams[value].name for value in stage.results],
        "reads": [
            {
                "node": read.node, "value": plan.streams[read.source].name, "late": read.late,
                "local": leaf.is_local,
            }
            for read, leaf in zip(stage.reads, leaves, strict=computes)
        ],
        "fields": [_field(item) for item in plan.vertices(stage.name).fields] if computes else [],
        "vertex_bytes": plan.vertices(stage.name).vertex_bytes() if computes else 0,
        "cycles": int(plan.cycles(stage.name).max()) if computes else 0,
    }  # fmt: skip


def _field(item: Field) -> Json:
    return {
        "name": item.name, "type": item.ctype, "role": item.role, "label": item.label,
        "elements": runs(item.room),
    }  # fmt: skip


def _value(stream: Stream) -> Json:
    return {
        "name": stream.name, "form": stream.form, "type": stream.item, "size": stream.cut.size,
        "per": stream.cut.per, "unit": stream.unit, "width": stream.width,
    }  # fmt: skip


def _image(plan: Plan, image: Image) -> Json:
    received = plan.received(image)
    return {
        "value": plan.streams[image.value].name, "late": image.late, "level": image.level,
        "windows": window_runs(image), "received": int(received.sum()),
        "received_most": int(received.max()), "between_ipus": int(plan.link_bytes(image).sum()),
    }  # fmt: skip


def _gathering(plan: Plan, gathering: Gathering) -> Json:
    received = plan.collected(gathering)
    return {
        "value": plan.streams[gathering.value].name, "each": gathering.each,
        "tiles": tile_runs(gathering.tiles.tolist()),
        "times": sum(key in plan.images for key in ((gathering.value, n) for n in (False, True))),
        "received": int(received.sum()), "received_most": int(received.max()),
        "between_ipus": int(plan.collected(gathering, plan.machine.tiles).sum()),
    }  # fmt: skip


def _memory(plan: Plan) -> Json:
    kinds = plan.bytes_by_kind
    return {
        "fullest": plan.fullest,
        "total": int(plan.tile_bytes.sum()),
        "kinds": {kind: int(each.sum()) for kind, each in kinds.items()},
        "tiles": {kind: runs(each) for kind, each in kinds.items()},
    }


def runs(numbers: Array) -> list[list[int]]:
    """Return numbers as pairs: a number, and how often it comes in a row."""
    if not len(numbers):
        return []
    begins = np.flatnonzero(np.concatenate([[True], np.diff(numbers) != 0]))
    counts = np.diff(np.concatenate([begins, [len(numbers)]]))
    return [list(pair) for pair in zip(numbers[begins].tolist(), counts.tolist(), strict=True)]


def tile_runs(tiles: Sequence[int]) -> list[list[int]]:
    """Return tiles as pairs: the first, and how many follow one another from it on."""
    numbers = np.asarray(tiles, np.int64)
    begins = np.flatnonzero(np.concatenate([[True], np.diff(numbers) != 1]))
    counts = np.diff(np.concatenate([begins, [len(numbers)]]))
    return [list(pair) for pair in zip(numbers[begins].tolist(), counts.tolist(), strict=True)]


def window_runs(image: Image) -> list[list[int]]:
    """Return what tiles receive: a tile, how many from it on receive the same, low and high."""
    rows = np.stack([image.tiles, image.low, image.high], axis=1).astype(np.int64)
    steps = np.diff(rows, axis=0)
    new = (steps[:, 0] != 1) | (steps[:, 1:] != 0).any(axis=1)
    begins = np.flatnonzero(np.concatenate([[True], new]))
    counts = np.diff(np.concatenate([begins, [len(rows)]]))
    return [
        [tile, count, low, high]
        for (tile, low, high), count in zip(rows[begins].tolist(), counts.tolist(), strict=True)
    ]
