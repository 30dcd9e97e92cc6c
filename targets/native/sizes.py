"""How much of a device a program needs, layer by layer, before anything is compiled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from snnir.c_layout import SIZES
from snnir.errors import Diagnostic, SnnirError, error
from snnir.targets.native.program import Program

#: Bytes of what is not an element, on a device of 32 bits.
_WORD = 4
_SCALES = {"": 1, "K": 1024, "M": 1024**2}


@dataclass(frozen=True)
class Size:
    """What one node needs.

    Attributes:
        node: Its name.
        flash: Bytes of weights and tables.
        ram: Bytes of states, values and lists of events, for one sample and one step.
    """

    node: str
    flash: int
    ram: int


def budget(option: str, text: str) -> int | None:
    """Return a number of bytes, such as `4096` or `64K`; None for an empty text.

    Raises:
        SnnirError: SNN503 for anything else.
    """
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,12})([KM]?)", text)
    if found is None:
        what = f"target 'native': {option} is '{text}'"
        raise error("SNN503", what, hint="use bytes, or as 64K or 1M")
    return int(found[1]) * _SCALES[found[2]]


def sizes(program: Program) -> list[Size]:
    """Return what every node needs, in the order of the graph."""
    names = dict(enumerate(program.graph.nodes))
    flash, ram = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    writer = program.writer
    for name, array in writer.weights.items():
        flash[_node(writer.owners[name])] += array.nbytes
    for line in (*writer.state, *writer.lasting):
        found = re.fullmatch(r"(\w+) (\w+?)(?:\[(\d+)\])?;", line)
        assert found is not None
        each = SIZES.get(found[1], _WORD)
        ram[_node(found[2])] += each * int(found[3] or 1)
    outside = {program.layout.ident(port.value) for port in program.inputs} | set(program.direct)
    for name, (kind, size) in (*writer.buffers.items(), *writer.scratch.items()):
        if name not in outside:
            ram[_node(name)] += SIZES[kind] * size
    for name, (_, size) in writer.events.items():
        ram[_node(name)] += 2 * (size + 8) + 3 * _WORD
    return [Size(name, flash[index], ram[index]) for index, name in names.items()]


def _node(label: str) -> int:
    """Return the number of the node whose identifier a name begins with."""
    found = re.match(r"n(\d+)_", label)
    assert found is not None
    return int(found[1])


def check_sizes(program: Program, budgets: Mapping[str, str]) -> None:
    """Compare with what a device has.

    Raises:
        SnnirError: SNN504 with the largest layers, for each memory that is too small.
    """
    found, problems = sizes(program), []
    for memory, text in budgets.items():
        limit = budget(memory, text)
        total = sum(getattr(size, memory) for size in found)
        if limit is None or total <= limit:
            continue
        largest = sorted(found, key=lambda size, m=memory: -getattr(size, m))[:5]  # type: ignore[misc]
        listed = ", ".join(f"{size.node} {getattr(size, memory):,}" for size in largest)
        hint = (
            "fewer bits, prune and sparsify, or smaller layers"
            if memory == "flash"
            else ("smaller layers or shorter delays")
        )
        problems.append(
            Diagnostic(
                "SNN504", f"needs {total:,} bytes of {memory}, the device has {limit:,}: {listed}",
                hint=hint,
            )
        )  # fmt: skip
    if problems:
        raise SnnirError(problems)
