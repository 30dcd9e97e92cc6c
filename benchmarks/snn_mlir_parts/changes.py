"""Small changes of NIR files, to see which of them reach what a tool makes of a file.

A tool that makes the same of a file and of the changed one does not have what was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import snnir

NEURONS = ("CubaLIF", "LIF", "IF")


def neurons(file: h5py.File) -> Iterator[h5py.Group]:
    """Yield the spiking neurons of a file's outermost graph."""
    nodes = file["node/nodes"]
    return (nodes[name] for name in nodes if nodes[name]["type"][()].decode() in NEURONS)


def field(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """Return a parameter; `v_reset`, which files may leave out, is made."""
    if name == "v_reset" and name not in group:
        group[name] = np.zeros_like(group["v_threshold"][...])
    return group.get(name)


def scaled(names: tuple[str, ...], file: h5py.File) -> bool:
    """Multiply a parameter of the first neuron that has it by 1.5."""
    return changed_field(names, lambda values: values * 1.5, file)


def one_scaled(names: tuple[str, ...], file: h5py.File) -> bool:
    """Multiply it for one neuron of several only."""

    def change(values: Any) -> Any:
        values.flat[0] *= 1.5
        return values

    return changed_field(names, change, file, least=2)


def shifted(names: tuple[str, ...], file: h5py.File) -> bool:
    """Add a quarter to a parameter."""
    return changed_field(names, lambda values: values + 0.25, file)


def changed_field(
    names: tuple[str, ...], change: Callable[[Any], Any], file: h5py.File, least: int = 1
) -> bool:
    """Change the first of these parameters that a neuron has; say whether there is one."""
    for group in neurons(file):
        for name in names:
            found = field(group, name)
            if found is not None and found.size >= least:
                found[...] = change(found[...])
                return True
    return False


def synapse(name: str, file: h5py.File) -> bool:
    """Add 1 to the first number of the first weight or bias."""
    nodes = file["node/nodes"]
    for key in nodes:
        if name in nodes[key]:
            values = nodes[key][name][...]
            values.flat[0] += 1
            nodes[key][name][...] = values
            return True
    return False


def without_recurrence(file: h5py.File) -> bool:
    """Take away the edge from a neuron to a synapse that leads straight back."""
    edges = [(a.decode(), b.decode()) for a, b in file["node/edges"][...]]
    names = {group.name.rsplit("/", 1)[-1] for group in neurons(file)}
    closing = [(a, b) for a, b in edges if a in names and (b, a) in edges]
    if not closing:
        return False
    write_edges(file, [edge for edge in edges if edge != closing[0]])
    return True


def with_delay(file: h5py.File) -> bool:
    """Put a delay of 2 ms before the first neuron."""
    group = next(neurons(file), None)
    if group is None:
        return False
    name = group.name.rsplit("/", 1)[-1]
    edges = [(a.decode(), b.decode()) for a, b in file["node/edges"][...]]
    source = next(a for a, b in edges if b == name)
    delay = file.create_group("node/nodes/late")
    delay["type"] = "Delay"
    delay["delay"] = np.full_like(group["v_threshold"][...], 0.002)
    replaced = [(a, "late") if (a, b) == (source, name) else (a, b) for a, b in edges]
    write_edges(file, [*replaced, ("late", name)])
    return True


def write_edges(file: h5py.File, edges: list[tuple[str, str]]) -> None:
    """Replace the edges of a file's outermost graph."""
    del file["node/edges"]
    file["node"].create_dataset("edges", data=np.array(edges, dtype=h5py.string_dtype()))


#: What is changed, and how. Each says whether the file has what it changes.
CHANGES: dict[str, Callable[[h5py.File], bool]] = {
    "a weight": partial(synapse, "weight"),
    "a bias": partial(synapse, "bias"),
    "the threshold": partial(scaled, ("v_threshold",)),
    "the threshold of one neuron": partial(one_scaled, ("v_threshold",)),
    "the membrane's time constant": partial(scaled, ("tau", "tau_mem")),
    "that of one neuron": partial(one_scaled, ("tau", "tau_mem")),
    "the synapse's time constant": partial(scaled, ("tau_syn",)),
    "the gain `r`": partial(scaled, ("r",)),
    "the reset value": partial(shifted, ("v_reset",)),
    "the leak's potential": partial(shifted, ("v_leak",)),
    "no recurrence": without_recurrence,
    "a delay": with_delay,
}

#: What NIR has no field for: two readings of a file, both written by snnir with their record.
READINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the length of a step": ({"dt": 1e-4}, {"dt": 2e-4}),
    "the reset rule": ({"reset": "zero"}, {"reset": "subtract"}),
    "how it is stepped": ({"integrator": "euler"}, {"integrator": "exponential_euler"}),
    "the state at the start": ({"start": "zero"}, {"start": "leak"}),
}


def variants(path: Path, folder: Path) -> dict[str, tuple[Path, Path] | None]:
    """Write changed copies of a file.

    Args:
        path: A NIR file.
        folder: Where to; both files of a pair have the name of the first.

    Returns:
        By change the file before and after it, or None where there is nothing to change.
    """
    found: dict[str, tuple[Path, Path] | None] = {}
    for number, (label, change) in enumerate(CHANGES.items()):
        after = folder / f"change{number}" / path.name
        after.parent.mkdir()
        after.write_bytes(path.read_bytes())
        with h5py.File(after, "r+") as file:
            found[label] = (path, after) if change(file) else None
    for number, (label, options) in enumerate(READINGS.items()):
        pair = [folder / f"reading{number}{side}" / path.name for side in "ab"]
        for made, option in zip(pair, options, strict=True):
            made.parent.mkdir()
            snnir.save(snnir.load(path, **{"dt": 1e-4, **option}), made)
        found[label] = (pair[0], pair[1])
    return found
