"""What a model takes in all, and what is said of one that does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import prod

import numpy as np

from snnir.errors import Diagnostic
from snnir.ir.neuron import Step
from snnir.ir.sparse import SparseLinear
from snnir.ir.synapses import Conv1d, Conv2d, Linear
from snnir.targets.ipu.machine import MOST_IPUS, Machine
from snnir.targets.ipu.memory import ITEM_BYTES, VALUES, Array, Stream
from snnir.targets.ipu.plan import KINDS, Plan
from snnir.targets.ipu.sizes import Sizer
from snnir.targets.ipu.structure import INPUT, Structure
from snnir.targets.ipu.vertices import kept_type

#: What is asked whether a machine, with weights of 16 bits or not, would do.
Fits = Callable[[Machine, bool], bool]
#: Kinds of memory as people know them.
_NAMES = {"constants": "weights and parameters"}
_OPS = (Linear, SparseLinear, Conv1d, Conv2d)


def least_bytes(structure: Structure, batch: int, half: bool) -> int:
    """Return the bytes of weights and states alone: no plan takes less."""
    found = 0
    for node in structure.graph.nodes.values():
        op = node.op
        if isinstance(op, _OPS):
            known = kept_type(structure, node, half)
            tensor = op.values if isinstance(op, SparseLinear) else op.weight
            # Blocks of sparse matrices may hold zeros, which are left out.
            blocks = isinstance(op, SparseLinear) and op.block > 1
            found += 0 if blocks else prod(tensor.shape) * ITEM_BYTES[known]
        elif isinstance(op, Step):
            found += 4 * batch * len(op.program.states) * structure.graph.signal(node.name).size
    return found


def too_large(plan: Plan, fits: Fits) -> list[Diagnostic]:
    """Return why a plan does not fit: of every stage of which one part is too much, or of all."""
    single = _neurons(plan)
    # More tiles do not help an element that is too large for one.
    hint = _help(plan, fits, () if single else _larger(plan))
    return [replace(problem, hint=hint) for problem in single or [_whole(plan)]]


def _neurons(plan: Plan) -> list[Diagnostic]:
    """Return the stages of which one element alone needs more than a tile."""
    usable, found = plan.machine.usable, []
    for stage in plan.stages.values():
        if stage.kind == INPUT:
            continue
        alone = {value: plan.streams[value].with_form(plan.streams[value].form, 1)
                 for value in stage.results}  # fmt: skip
        sizer = Sizer(plan.structure, plan.batch, plan.half, plan.activity)
        one = sizer.bundles(stage, {**plan.streams, **alone}, 1)
        needed = one.own
        for key, (low, high, _) in one.images.items():
            stream = {**plan.streams, **alone}[key[0]]
            needed = needed + least_received(stream, high - low)
        worst = int(np.argmax(needed))
        if needed[worst] > usable:
            received = int(needed[worst] - one.own[worst])
            text = (
                f"element {worst} alone needs {needed[worst]:,} bytes of a tile, {received:,} of "
                f"them for what it reads; a tile has {_room(plan.machine)}"
            )
            found.append(Diagnostic("SNN504", text, stage.name))
    return found


def least_received(stream: Stream, items: Array) -> Array:
    """Return the bytes that so many items of every sample take in the form that takes least.

    Spikes in large parts take a bit each.
    """
    elements = items if stream.form == VALUES else items // stream.unit * stream.cut.per
    bits = 8 * ITEM_BYTES[stream.item] if stream.form == VALUES else 1
    found: Array = -(-elements * bits // 8) * stream.batch
    return found


def _whole(plan: Plan) -> Diagnostic:
    sums = {kind: int(each.sum()) for kind, each in plan.bytes_by_kind.items()}
    parts = ", ".join(f"{_NAMES.get(kind, kind)} {sums[kind]:,}" for kind in KINDS)
    machine, total = plan.machine, sum(sums.values())
    tiles = f"{machine.all_tiles:,} tiles"
    has = f"{'one IPU has' if machine.ipus == 1 else f'{machine.ipus} IPUs have'}"
    text = f"the model needs {total:,} bytes on {tiles}: {parts}; {has} {machine.capacity:,}"
    if total <= machine.capacity:
        text += f", but the fullest tile needs {plan.fullest:,} and has {_room(machine)}"
    return Diagnostic("SNN504", text)


def _room(machine: Machine) -> str:
    return f"{machine.usable:,} ({machine.tile_bytes:,} less the reserve)"


def _larger(plan: Plan) -> Iterator[Machine]:
    """Yield machines with more IPUs."""
    ipus = plan.machine.ipus * 2
    while ipus * plan.replicas <= MOST_IPUS:
        yield replace(plan.machine, ipus=ipus)
        ipus *= 2


def _help(plan: Plan, fits: Fits, larger: Iterable[Machine]) -> str:
    """Return what would help, found by trying."""
    machine = plan.machine
    enough = next((other for other in larger if fits(other, plan.half)), None)
    found = [] if enough is None else [f"--set ipus={enough.ipus * plan.replicas}"]
    if not plan.half and fits(machine, True):
        found.append("--set precision=half")
    if plan.batch > 1:
        found.append("a smaller batch")
    found.append("fewer weights (sparsify, quantize)")
    return "try " + ", or ".join(found)
