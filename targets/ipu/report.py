"""What the report of a folder says about a plan in tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnir.target import Table
from snnir.targets.ipu.cost import assumptions, level_costs
from snnir.targets.ipu.machine import CLOCK_HZ
from snnir.targets.ipu.plan import KINDS, Plan
from snnir.targets.ipu.structure import INPUT, Stage


def tables(plan: Plan) -> dict[str, Table]:
    """Return the report's tables."""
    stages = (
        "stage", "level", "elements", "of a part", "parts", "tiles", "sent as", "bytes",
        "cycles (estimated)",
    )  # fmt: skip
    exchange = ("value", "sent as", "tiles that receive it", "bytes", "most bytes of a tile",
                "between IPUs")  # fmt: skip
    levels = ("level", "exchange", "links", "waiting", "compute", "cycles")
    return {
        "Stages on tiles": (stages, [_stage(plan, stage) for stage in plan.stages.values()]),
        "Bytes of tiles": (("", "all tiles", "fullest tile"), list(_memory(plan))),
        "Exchange of a step": (exchange, list(_exchange(plan))),
        "Estimated cycles of a step": (levels, list(_levels(plan))),
        "What the estimate assumes (sources: plan.json)": (
            ("", "value", "unit", "how well known"),
            [(a.name, f"{a.value:,.10g}", a.unit, a.strength) for a in assumptions(plan.activity)],
        ),
    }


def _stage(plan: Plan, stage: Stage) -> tuple[object, ...]:
    streams = [plan.streams[value] for value in stage.results]
    cut, computes = streams[0].cut, stage.kind != INPUT
    forms = ", ".join(dict.fromkeys(stream.form for stream in streams))
    cycles = int(plan.cycles(stage.name).max()) if computes else 0
    tiles = len(set(plan.placement[stage.name].tiles))
    size = int(plan.stage_bytes(stage.name).sum())
    return stage.name, stage.level, cut.size, cut.per, cut.parts, tiles, forms, size, cycles


def _memory(plan: Plan) -> Iterator[tuple[object, ...]]:
    worst = int(np.argmax(plan.tile_bytes))
    for kind in KINDS:
        each = plan.bytes_by_kind[kind]
        yield kind, int(each.sum()), int(each[worst])
    yield "all", int(plan.tile_bytes.sum()), plan.fullest
    yield "there is, less the reserve", plan.machine.capacity, plan.machine.usable


def _exchange(plan: Plan) -> Iterator[tuple[object, ...]]:
    for image in plan.images.values():
        stream, received = plan.streams[image.value], plan.received(image)
        name = f"{stream.name}, of the step before" if image.late else stream.name
        between = int(plan.link_bytes(image).sum())
        if image.value in plan.gatherings:
            one = plan.gatherings[image.value]
            got, far = plan.collected(one), int(plan.collected(one, plan.machine.tiles).sum())
            yield f"{name}: gathered", stream.form, len(got), int(got.sum()), int(got.max()), far
        yield name, stream.form, len(image.tiles), int(received.sum()), int(received.max()), between


def _levels(plan: Plan) -> Iterator[tuple[object, ...]]:
    costs = level_costs(plan)
    for cost in costs:
        yield cost.level, cost.exchange, cost.link, cost.sync, cost.compute, cost.total
    total = sum(cost.total for cost in costs)
    yield "all", "", "", "", "", total
    if total:
        yield "steps per second", "", "", "", "", f"{CLOCK_HZ / total:,.0f}"
