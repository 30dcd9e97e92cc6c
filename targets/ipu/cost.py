"""How long a step takes, as far as public sources say, and what is assumed beyond them.

A step is a sequence of levels: values are sent to the tiles that read them, all tiles wait for
each other, then the vertices of the level compute. Not counted: the host's streams, which overlap
with other steps or do not, and what the vendor's compiler makes better or worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.targets.ipu.machine import CLOCK_HZ, WORKERS
from snnir.targets.ipu.memory import Array
from snnir.targets.ipu.plan import Gathering, Image, Plan
from snnir.targets.ipu.structure import Stage

#: Strengths of what is said of the machine.
STATED, INFERRED, ASSUMED = "stated", "inferred", "assumed"

#: Bytes that a tile receives or sends in a cycle.
EXCHANGE_BYTES = 4
#: Cycles until all tiles of an IPU have met.
SYNC = 200
#: Cycles until the tiles of several IPUs have, before values that go from one to another.
LINK_SYNC = 800
#: Cycles from the start of a compute set to the first instruction of its workers.
LAUNCH = 20
#: Bytes that an IPU receives from others in a cycle.
LINK_BYTES = 44


@dataclass(frozen=True)
class Assumption:
    """A number of the cost model.

    Attributes:
        name: What it is.
        value: In its unit.
        unit: `cycles`, `bytes/cycle`, `Hz` ...
        strength: `STATED` by a source, `INFERRED` from several, or `ASSUMED`.
        source: Where it comes from.
    """

    name: str
    value: float
    unit: str
    strength: str
    source: str


def assumptions(activity: float) -> list[Assumption]:
    """Return everything that estimates rest on.

    Args:
        activity: Share of spikes that is taken to be 1.
    """
    return [
        Assumption(
            "a worker issues an instruction every so many cycles", WORKERS, "cycles", STATED,
            "graphcore/poplibs, lib/popops/popopsCycleEstimators.cpp: worker cycles times workers",
        ),
        Assumption(
            "vertices of a tile that compute at once", WORKERS, "vertices", STATED,
            "graphcore/examples, tutorials/poplar/tut6_matrix_vector_opt: rounds of six",
        ),
        Assumption(
            "start of a compute set", LAUNCH, "cycles", STATED,
            "graphcore/poplibs, lib/popops/PerformanceEstimation.cpp: 9 and 11 of a supervisor",
        ),
        Assumption(
            "exchange, for each tile", EXCHANGE_BYTES, "bytes/cycle", INFERRED,
            "8 TB/s of 1472 tiles at 1.33 GHz",
        ),
        Assumption("all tiles of an IPU meet", SYNC, "cycles", ASSUMED, "no public number"),
        Assumption("tiles of several IPUs meet", LINK_SYNC, "cycles", ASSUMED, "no public number"),
        Assumption(
            "links, for each IPU", LINK_BYTES, "bytes/cycle", INFERRED,
            "graphcore/poplibs, lib/poplibs_test/Util.cpp: 4 links of 128 Gibit/s, 85 % of it used",
        ),
        Assumption(
            "clock", CLOCK_HZ, "Hz", INFERRED,
            "graphcore/examples, tutorials/poplar/tut6_matrix_vector_opt: cycles and microseconds",
        ),
        Assumption("spikes that are 1", activity, "of all", ASSUMED, "option activity"),
        Assumption(
            "instructions of a vertex", 1, "per operation", ASSUMED,
            "counted by hand in the C++ of the codelets; what popc makes of it is not known",
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class LevelCost:
    """Cycles of one level of a step.

    Attributes:
        level: Its number; 0 is where values of the step before are sent.
        exchange: In which tiles receive what they read.
        link: In which IPUs receive what comes from others.
        sync: In which all wait for each other.
        compute: Of the tile that computes longest.
    """

    level: int
    exchange: int
    link: int
    sync: int
    compute: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.exchange + self.link + self.sync + self.compute


def level_costs(plan: Plan) -> list[LevelCost]:
    """Return the estimated cycles of every level of a step."""
    late = [image for image in plan.images.values() if image.late]
    found = [LevelCost(0, *_sent(plan, late), 0)] if late else []
    for level, stages in plan.levels():
        images = [i for i in plan.images.values() if i.level == level and not i.late]
        exchange, link, sync = _sent(plan, images)
        compute = LAUNCH + int(compute_cycles(plan, stages).max(initial=0))
        found.append(LevelCost(level, exchange, link, sync + SYNC, compute))
    return found


def _sent(plan: Plan, images: list[Image]) -> tuple[int, int, int]:
    """Return the cycles in which values are sent: of tiles, of links, and of waiting."""
    links = [link_cycles(plan, image) for image in images]
    exchange = sum(exchange_cycles(plan, image) for image in images)
    for image in images:
        if image.value in plan.gatherings:
            cycles, link = gathering_cycles(plan, plan.gatherings[image.value])
            exchange, links = exchange + cycles, [*links, link]
    return exchange, sum(links), sum(LINK_SYNC if link else SYNC for link in links)


def step_cycles(plan: Plan) -> int:
    """Return the estimated cycles of a step."""
    return sum(cost.total for cost in level_costs(plan))


def exchange_cycles(plan: Plan, image: Image) -> int:
    """Return how long the tile is busy that receives or sends most; a tile sends a part once."""
    received = plan.received(image)
    if not received.any():
        return 0
    parts = np.bincount(plan.owners(image.value)).max()
    sent = int(parts) * plan.streams[image.value].part_bytes
    return -(-max(int(received.max()), sent) // EXCHANGE_BYTES)


def gathering_cycles(plan: Plan, gathering: Gathering) -> tuple[int, int]:
    """Return how long the tile is busy that collects or gives most, and the same of IPUs."""
    received = plan.collected(gathering)
    stream = plan.streams[gathering.value]
    parts = np.bincount(plan.tile_of_parts(gathering.value.node)).max()
    busiest = max(int(received.max()), int(parts) * stream.part_bytes)
    links = np.zeros(plan.machine.ipus, np.int64)
    far = plan.collected(gathering, plan.machine.tiles)
    np.add.at(links, gathering.tiles // plan.machine.tiles, far)
    return -(-busiest // EXCHANGE_BYTES), -(-int(links.max()) // LINK_BYTES)


def link_cycles(plan: Plan, image: Image) -> int:
    """Return how long the IPU is busy that receives most from others."""
    return -(-int(plan.link_bytes(image).max(initial=0)) // LINK_BYTES)


def compute_cycles(plan: Plan, stages: list[Stage]) -> Array:
    """Return the cycles of each tile in a level: its stages' slowest parts, one after the other.

    A stage has at most as many parts on a tile as there are workers, so that is one round of it.
    """
    total = np.zeros(plan.machine.all_tiles, np.int64)
    for stage in stages:
        slowest = np.zeros_like(total)
        np.maximum.at(slowest, plan.tile_of_parts(stage.name), plan.cycles(stage.name))
        total += slowest
    return total
