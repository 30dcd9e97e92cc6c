"""In which forms each value can travel, and how large parts may be for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from snnir.ir.graph import Node, Value
from snnir.ir.op import Op
from snnir.ir.sparse import SparseLinear
from snnir.ir.synapses import Conv1d, Conv2d, Linear
from snnir.streams import Kind
from snnir.targets.ipu.machine import WORKERS
from snnir.targets.ipu.memory import BITS, LISTS, VALUES, Cut, Stream
from snnir.targets.ipu.structure import Stage, Structure

#: What the option `events` may be.
AUTO = "auto"
EVENTS = (AUTO, LISTS, BITS)
#: Entries of lists are whole numbers of 16 bits.
MOST_LISTED = 2**16 - 1
#: Bits of a word.
WORD = 32
#: Sizes of parts: any; one word or whole words of bits, which are gone through word by word; and
#: those from which a bit is found without a division.
ANY, WORDS, POWERS = "any", "words", "powers"


def forms_of(structure: Structure, value: Value, events: str = AUTO) -> tuple[str, ...]:
    """Return the forms in which a value may travel, the one to begin with first."""
    if structure.graph.signals[value].kind is not Kind.SPIKES:
        return (VALUES,)
    readings = _readings(structure, value)
    if not readings:
        return (BITS,)
    listed = all(is_event_driven(structure, node) and not same for node, same in readings)
    listed = listed and structure.stage_of(value).size <= MOST_LISTED and events != BITS
    if listed and events == LISTS:
        return (LISTS,)
    sought = all(_is_random(structure, *one) for one in readings)
    return (BITS, *([LISTS] if listed else []), *([VALUES] if sought else []))


def is_event_driven(structure: Structure, node: Node) -> bool:
    """Return whether an op can go through a list of events: one that sums over all its operand."""
    op, size = node.op, structure.graph.signal(node.name).size
    if isinstance(op, Linear):
        return op.weight.shape[0] == size
    return isinstance(op, (Conv1d, Conv2d)) or _is_sparse(op, size)


def _is_sparse(op: Op, size: int) -> bool:
    return isinstance(op, SparseLinear) and op.outputs == size


def _readings(structure: Structure, value: Value) -> list[tuple[Node, bool]]:
    """Return the nodes that read a value as it is kept, and whether each reads its own element."""
    return [
        (structure.graph.nodes[read.node], read.same)
        for stage in structure.stages.values()
        for read in stage.reads
        if read.source == value and stage.kind != "input"
    ]


def _is_random(structure: Structure, node: Node, same: bool) -> bool:
    """Return whether an op looks bits up by place, in a way that may need a division."""
    is_window = isinstance(node.op, (Conv1d, Conv2d))
    return not same and (is_window or not is_event_driven(structure, node))


def grain_of(structure: Structure, stages: Iterable[Stage], forms: Mapping[Value, str]) -> str:
    """Return what the size of the parts of stages has to be."""
    bits = [v for stage in stages for v in stage.results if forms[v] == BITS]
    if not bits:
        return ANY
    readings = [one for value in bits for one in _readings(structure, value)]
    if any(_is_random(structure, *one) for one in readings):
        return POWERS
    # Of sparse matrices the place of every bit is in a table.
    placed = all(same or isinstance(node.op, SparseLinear) for node, same in readings)
    return ANY if placed else WORDS


def sizes_near(per: int, grain: str) -> tuple[int, ...]:
    """Return the allowed sizes of parts next to a size: not below it, and not above."""
    if grain == ANY or (grain == WORDS and per <= WORD):
        return (per,)
    if per <= WORD:
        up = 1 << (per - 1).bit_length()
        return (up, max(1, up // 2))
    return (-(-per // WORD) * WORD, per // WORD * WORD)


def cuts(size: int, tiles: int, grain: str, workers: int = WORKERS) -> list[tuple[int, int]]:
    """Return elements of a part and workers of a tile with which elements fill about so many tiles.

    Parts are as even as the grain lets them be; a tile has about as many of them as is asked for.
    """
    each = -(-size // tiles)
    per = -(-each // min(workers, each))
    return [(own, max(1, min(WORKERS, -(-each // own)))) for own in sizes_near(per, grain)]


def stream_of(structure: Structure, value: Value, form: str, per: int, batch: int) -> Stream:
    """Return a value in a form and parts of so many elements."""
    kind = structure.layout.ctype(value)
    ctype = {"uint8_t": "float", "int32_t": "int"}.get(kind, kind)
    name = value.node if not value.result else f"{value.node}#{value.result}"
    cut = Cut(structure.stage_of(value).size, per)
    return Stream(name, structure.layout.ident(value), form, ctype, cut, batch)
