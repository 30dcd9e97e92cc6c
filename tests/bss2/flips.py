"""Artefacts with one bit of one register flipped, or one register switched on or off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import HICANN_X, Chip
from tests.bss2.checker import check, differences, digest_fits, matrices
from tests.bss2.register_rules import NODES

Json = dict[str, Any]
#: Changes an execution's copy, of which only the top level may be changed in place.
Flip = Callable[[Json], None]
MODES = ("excitatory", "inhibitory")


def _replaced(rows: list[Any], at: int, new: Any) -> list[Any]:
    return [*rows[:at], new, *rows[at + 1 :]]


def _bits(key: str, field: int, width: int, execution: Json) -> Iterator[tuple[str, Flip]]:
    """Flip each bit of an element of each of a list of lists."""
    for at, row in enumerate(execution[key]):
        for bit in range(width):
            new = [*row[:field], row[field] ^ 1 << bit, *row[field + 1 :]]

            def flip(copy: Json, at: int = at, new: list[int] = new) -> None:
                copy[key] = _replaced(copy[key], at, new)

            yield f"{key} {row}: bit {bit} of element {field}", flip


def _removed(key: str, execution: Json) -> Iterator[tuple[str, Flip]]:
    for at, row in enumerate(execution[key]):

        def flip(copy: Json, at: int = at) -> None:
            copy[key] = copy[key][:at] + copy[key][at + 1 :]

        yield f"{key}: without {row}", flip


def _added(key: str, rows: list[list[Any]]) -> Iterator[tuple[str, Flip]]:
    for row in rows:

        def flip(copy: Json, row: list[Any] = row) -> None:
            copy[key] = [*copy[key], row]

        yield f"{key}: with {row}", flip


def _modes(execution: Json) -> Iterator[tuple[str, Flip]]:
    for at, (half, row, mode) in enumerate(execution["rows"]):
        new = [half, row, MODES[1 - MODES.index(mode)]]

        def flip(copy: Json, at: int = at, new: list[Any] = new) -> None:
            copy["rows"] = _replaced(copy["rows"], at, new)

        yield f"row {half, row}: {new[2]}", flip


def _synapse_bits(name: str, which: list[int]) -> Iterator[tuple[str, Flip]]:
    for at in which:
        for bit in range(6):

            def flip(copy: Json, at: int = at, bit: int = bit) -> None:
                values = copy["synapses"][name]
                new = _replaced(values, at, values[at] ^ 1 << bit)
                copy["synapses"] = {**copy["synapses"], name: new}

            yield f"synapse {at}: bit {bit} of {name}", flip


def _labels(execution: Json) -> Iterator[tuple[str, Flip]]:
    for at, event in enumerate(execution["events"]):
        for number, label in enumerate(event["labels"]):
            changed = [_replaced(event["labels"], number, label ^ 1 << bit) for bit in range(16)]
            changed.append(event["labels"][:number] + event["labels"][number + 1 :])
            for bit, labels in enumerate(changed):

                def flip(copy: Json, at: int = at, labels: list[int] = labels) -> None:
                    new = {**copy["events"][at], "labels": labels}
                    copy["events"] = _replaced(copy["events"], at, new)

                what = f"bit {bit} of {label}" if bit < 16 else f"without {label}"
                yield f"events {event['population']}[{event['index']}]: {what}", flip


def _fields(key: str, field: str, width: int, execution: Json) -> Iterator[tuple[str, Flip]]:
    """Flip each bit of a field of each of a list of objects; addresses of what spikes only."""
    for at, one in enumerate(execution[key]):
        if field == "address" and one["threshold"] is None:
            continue
        for bit in range(width):

            def flip(copy: Json, at: int = at, bit: int = bit) -> None:
                new = {**copy[key][at], field: copy[key][at][field] ^ 1 << bit}
                copy[key] = _replaced(copy[key], at, new)

            yield f"{key} {one['population']}[{one['index']}]: bit {bit} of {field}", flip


def kinds(execution: Json, chip: Chip, which: list[int]) -> dict[str, list[tuple[str, Flip]]]:
    """Return every flip of an execution, by what it changes; of synapses those of some only."""
    rows = {(row[0], row[1]) for row in execution["rows"]}
    drivers = {(driver[0], driver[1]) for driver in execution["drivers"]}
    nodes = {(node[0], node[1]) for node in execution["crossbar"]}
    more_rows = [
        [half, row, mode]
        for half in range(2)
        for row in range(chip.rows)
        for mode in MODES
        if (half, row) not in rows
    ]
    more_drivers = [
        [half, driver, mask]
        for half in range(2)
        for driver in range(4 * chip.drivers)
        for mask in (31, 0)
        if (half, driver) not in drivers
    ]
    more_nodes = [[i, o, 0, 0] for i in NODES for o in NODES[i] if (i, o) not in nodes]
    return {
        "mode": list(_modes(execution)),
        "row off": list(_removed("rows", execution)),
        "row on": list(_added("rows", more_rows)),
        "driver mask": list(_bits("drivers", 2, 5, execution)),
        "driver off": list(_removed("drivers", execution)),
        "driver on": list(_added("drivers", more_drivers)),
        "crossbar mask": list(_bits("crossbar", 2, 14, execution)),
        "crossbar target": list(_bits("crossbar", 3, 14, execution)),
        "crossbar off": list(_removed("crossbar", execution)),
        "crossbar on": list(_added("crossbar", more_nodes)),
        "synapse label": list(_synapse_bits("label", which)),
        "synapse weight": list(_synapse_bits("weight", which)),
        "event label": list(_labels(execution)),
        "generator label": list(_fields("background", "label", 14, execution)),
        "generator bus": list(_fields("background", "bus", 3, execution)),
        "address": list(_fields("neurons", "address", 8, execution)),
    }


def flips(
    artefact: Json, chip: Chip = HICANN_X, most: int | None = None, seed: int = 0
) -> Iterator[tuple[str, Json]]:
    """Yield what was flipped and the artefact with it, the given one unchanged.

    Args:
        artefact: Any artefact.
        chip: Its chip.
        most: Flips of each kind and execution; the rest is left out at random. All by default.
        seed: Of what is left out.
    """
    rng = np.random.default_rng(seed)

    def some(count: int) -> list[int]:
        if most is None or count <= most:
            return list(range(count))
        chosen: list[int] = np.sort(rng.choice(count, most, replace=False)).tolist()
        return chosen

    for number, execution in enumerate(artefact["executions"]):
        which = some(len(execution["synapses"]["row"]))
        for kind, found in kinds(execution, chip, which).items():
            for text, flip in (found[at] for at in some(len(found))):
                copy = dict(execution)
                flip(copy)
                executions = _replaced(artefact["executions"], number, copy)
                yield f"{kind}, {text}", {**artefact, "executions": executions}


def caught(artefact: Json, flipped: Json, chip: Chip = HICANN_X) -> str | None:
    """Return how a flip shows in a right artefact: by its matrices, by `check`, or by its digest.

    None where the flip is not seen, which is only so for one without a digest.
    """
    # The digest takes long, and is the last thing that is looked at.
    bare = [{**one, "digest": None} for one in flipped["executions"]]
    if check({**flipped, "executions": bare}, chip):
        return "check"
    if differences(matrices(flipped, chip), matrices(artefact, chip)):
        return "matrices"
    return None if all(digest_fits(one) for one in flipped["executions"]) else "digest"
