"""A network as files: `interface.json` and `network.safetensors`; copied into emitted folders."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from snnir.folder_weights import read_weights
from snnir.targets.events.network import RESETS, Block, EventNetwork, Neurons, Synapses

INTERFACE, ARRAYS = "interface.json", "network.safetensors"
FORMAT = 1
#: NumPy's words for the arrays that are not float64.
TYPES = {
    "has_synapse": "bool", "fires_at": "bool", "reset_kind": "int8", "first": "int64",
    "target": "int64", "tensor": "int32", "element": "int64",
}  # fmt: skip


class BadFolder(ValueError):
    """Files that are no network."""


def interface(network: EventNetwork, most: int) -> dict[str, Any]:
    """Return everything but the arrays, ready for JSON."""
    return {
        "format": FORMAT,
        "dt": network.dt,
        "pulse": network.pulse,
        "max_events": most,
        "blocks": [
            {"name": b.name, "start": b.start, "shape": list(b.shape), "kind": b.kind}
            for b in network.blocks
        ],
        "outputs": dict(network.outputs),
        "tensors": list(network.tensors),
    }


def arrays(network: EventNetwork) -> dict[str, Any]:
    """Return the arrays by name, in the types of the file."""
    parts = (("neurons", network.neurons, Neurons), ("synapses", network.synapses, Synapses))
    return {
        f"{part}.{item.name}": np.ascontiguousarray(
            getattr(own, item.name), TYPES.get(item.name, "float64")
        )
        for part, own, cls in parts
        for item in fields(cls)
    }


def read_network(folder: pathlib.Path) -> tuple[EventNetwork, dict[str, Any]]:
    """Return the network of a folder, and its interface.

    Raises:
        BadFolder: If the files do not describe one.
    """
    try:
        facts = json.loads((folder / INTERFACE).read_text(encoding="utf-8"))
        given = read_weights(folder / ARRAYS)
        network = _network(facts, given)
        check_network(network)
        most = facts["max_events"]
        _must(isinstance(most, int) and 1 <= most < 2**62, f"max_events is {most!r}")
    except BadFolder:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as problem:
        raise BadFolder(f"{folder} holds no network of events: {problem!r}") from None
    except Exception as problem:  # struct.error of a file that is cut off
        raise BadFolder(f"{folder} holds no network of events: {problem!r}") from None
    return network, facts


def _network(facts: Any, given: Mapping[str, Any]) -> EventNetwork:
    if facts["format"] != FORMAT:
        raise BadFolder(f"{INTERFACE} has format {facts['format']!r}, known is {FORMAT}")
    blocks = tuple(
        Block(str(b["name"]), int(b["start"]), tuple(int(n) for n in b["shape"]), str(b["kind"]))
        for b in facts["blocks"]
    )
    neurons = Neurons(**{f.name: given[f"neurons.{f.name}"] for f in fields(Neurons)})
    synapses = Synapses(**{f.name: given[f"synapses.{f.name}"] for f in fields(Synapses)})
    outputs = {str(name): str(block) for name, block in facts["outputs"].items()}
    return EventNetwork(
        blocks, neurons, synapses, tuple(map(str, facts["tensors"])), outputs,
        float(facts["pulse"]), float(facts["dt"]),
    )  # fmt: skip


def check_network(network: EventNetwork) -> None:
    """Check that a network can be run: extents, ranges, and numbers that are finite.

    Raises:
        BadFolder: Naming what is wrong.
    """
    units = _check_blocks(network)
    neurons, synapses = network.neurons, network.synapses
    count = units - network.input_units
    for item in fields(Neurons):
        values = getattr(neurons, item.name)
        _check_type(item.name, values)
        _must(values.shape == (count,), f"{item.name} must be [{count}], is {list(values.shape)}")
        known = np.isfinite(values) | (item.name == "threshold")
        _must(bool(np.all(known)) and not np.isnan(values).any(), f"{item.name} is not finite")
    _must(bool(np.all(neurons.rate_mem >= 0)), "a rate is negative")
    rate = np.where(neurons.has_synapse, neurons.rate_syn, 1.0)
    _must(bool(np.all(rate > 0)), "a synapse has no decay")
    _must(bool(np.all(neurons.refractory >= 0)), "a refractory time is negative")
    kinds = neurons.reset_kind
    _must(bool(np.all((kinds >= 0) & (kinds < len(RESETS)))), "a kind of reset is unknown")
    fires = neurons.threshold < np.inf
    stuck = fires & (kinds == 0) & (neurons.refractory == 0)
    stuck &= neurons.v_reset >= neurons.threshold
    _must(not stuck.any(), "a reset is not below its threshold")
    _must(not (fires & (kinds == 1) & (neurons.threshold <= 0)).any(), "a threshold is not > 0")
    first, total = synapses.first, len(synapses.target)
    _must(first.shape == (units + 1,), f"first must be [{units + 1}], is {list(first.shape)}")
    rising = first[0] == 0 and first[-1] == total and not np.any(np.diff(first) < 0)
    _must(bool(rising), f"first does not rise from 0 to {total}")
    for item in fields(Synapses):
        values = getattr(synapses, item.name)
        _check_type(item.name, values)
        _must(item.name == "first" or values.shape == (total,), f"{item.name} must be [{total}]")
        _must(values.dtype.kind != "f" or bool(np.isfinite(values).all()), f"{item.name} is nan")
    inside = (synapses.target >= 0) & (synapses.target < count)
    _must(bool(np.all(inside)), f"a target is not among the {count} neurons")
    _must(bool(np.all(synapses.delay >= 0)), "a delay is negative")


def _check_type(name: str, values: Any) -> None:
    wanted = TYPES.get(name, "float64")
    _must(values.dtype == wanted, f"{name} must be {wanted}, is {values.dtype}")


def _check_blocks(network: EventNetwork) -> int:
    """Return the number of units."""
    at, populations = 0, False
    names = {block.name for block in network.blocks}
    _must(len(names) == len(network.blocks), "two blocks have one name")
    for block in network.blocks:
        _must(block.kind in ("input", "current", "spiking", "readout"), f"kind {block.kind!r}")
        populations |= block.kind in ("spiking", "readout")
        late = populations and block.kind in ("input", "current")
        _must(block.start == at and min(block.shape, default=1) > 0 and not late, "blocks overlap")
        at += block.size
    _must(set(network.outputs.values()) <= names, "an output is no block")
    for name in ("dt", "pulse"):
        value = getattr(network, name)
        _must(np.isfinite(value) and value >= 0, f"{name} is {value}")
    _must(network.dt > 0, "dt is 0")
    return at


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise BadFolder(f"not a network of events: {message}")
