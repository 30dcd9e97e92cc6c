"""Comparing two runs spike by spike: where they part, and by how much."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from snnir.artefact import is_artefact, open_artefact
from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron, Step

Array = npt.NDArray[Any]
Model = Graph | str | Path


@dataclass(frozen=True)
class NodeDiff:
    """Comparison of one node.

    Attributes:
        node: Its name (outputs are `output:name`).
        spikes_a, spikes_b: Sums of both traces.
        differing: Number of elements that differ (XOR for spikes).
        total: Number of elements.
        first_step: First step with a difference, or None.
        index: (batch, *neuron) of the first difference.
        values: Both values there.
    """

    node: str
    spikes_a: float
    spikes_b: float
    differing: int
    total: int
    first_step: int | None = None
    index: tuple[int, ...] = ()
    values: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Diff:
    """Comparison of two runs on the same input.

    Attributes:
        nodes: Every node both have, in order of flow, then the outputs.
        only_a, only_b: Populations only one of them has.
    """

    nodes: tuple[NodeDiff, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether no element differs."""
        return all(node.differing == 0 for node in self.nodes)

    @property
    def first(self) -> NodeDiff | None:
        """The node that parts first in time, the earliest in the flow among equals."""
        parted = [node for node in self.nodes if node.first_step is not None]
        return min(parted, key=lambda node: node.first_step or 0, default=None)


@dataclass
class _Side:
    outputs: dict[str, Array]
    recorded: dict[str, Array] = field(default_factory=dict)


def diff(
    a: Model,
    b: Model,
    x: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None = None,
    *,
    record: Sequence[str] | None = None,
) -> Diff:
    """Run two models (graphs, files, artefact folders) on one input, or compare recordings.

    Args:
        a: One model; a `.npz` written by `snnir run` counts as a run that has happened.
        b: The other.
        x: The input, [T, B, *shape] or one per input name; not needed for two recordings.
        record: Nodes to compare; by default every population that spikes in both.

    Raises:
        SnnirError: SNN601 if they have nothing comparable, or shapes differ.
    """
    names_a, names_b = _populations(a), _populations(b)
    if names_a is None or names_b is None:
        shared = [name for name in (names_a or names_b or []) if _records(a, b, name)]
    else:
        shared = [name for name in names_a if name in names_b]
    shared = list(record) if record is not None else shared
    one, two = _run(a, x, shared), _run(b, x, shared)
    pairs = {name: (one.recorded[name], two.recorded[name]) for name in shared
             if name in one.recorded and name in two.recorded}  # fmt: skip
    outputs = [name for name in one.outputs if name in two.outputs]
    if not outputs and len(one.outputs) == len(two.outputs) == 1:
        (only_a,), (only_b,) = one.outputs.values(), two.outputs.values()
        pairs["output"] = (only_a, only_b)
    pairs.update({f"output:{n}": (one.outputs[n], two.outputs[n]) for n in outputs})
    if not pairs:
        raise error("SNN601", "the two have no node or output in common to compare")
    return Diff(
        tuple(_compare(name, p, q) for name, (p, q) in pairs.items()),
        tuple(n for n in names_a or () if n not in shared),
        tuple(n for n in names_b or () if n not in shared),
    )


def _is_recording(model: Model) -> bool:
    return not isinstance(model, Graph) and Path(model).suffix == ".npz"


def _records(a: Model, b: Model, name: str) -> bool:
    return any(_is_recording(m) and name in _read_recording(m).recorded for m in (a, b))


def _populations(model: Model) -> list[str] | None:
    if _is_recording(model):
        return None
    if isinstance(model, Graph):
        ops = ((name, model.nodes[name].op) for name in model.order)
        return [name for name, op in ops if isinstance(op, (Neuron, Step))]
    if is_artefact(Path(model)):
        return list(open_artefact(model).manifest.get("populations", {}))
    from snnir.driver import load

    return _populations(load(model))


def _run(model: Model, x: Any, record: Sequence[str]) -> _Side:
    from snnir.driver import run

    if _is_recording(model):
        return _read_recording(model)
    if x is None:
        raise error("SNN601", "comparing models needs an input", hint="give one with --input")
    result = run(model, x, record)
    return _Side(result.outputs, result.recorded)


def _read_recording(model: Model) -> _Side:
    path = Path(str(model))
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = dict(data)
        if "names" in arrays:
            names = [str(name) for name in arrays["names"].tolist()]
            arrays = {name: arrays[f"array_{i}"] for i, name in enumerate(names)}
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error) as failure:
        raise error("SNN101", f"is not a readable .npz ({failure})", source=str(path)) from None
    outputs = {k.removeprefix("output/"): v for k, v in arrays.items() if k.startswith("output/")}
    recorded = {
        k.removeprefix("record/"): v for k, v in arrays.items() if not k.startswith("output/")
    }
    return _Side(outputs, recorded)


def _compare(name: str, a: Array, b: Array) -> NodeDiff:
    if a.shape != b.shape:
        message = f"its traces have shapes {list(a.shape)} and {list(b.shape)}"
        raise error("SNN601", message, node=name)
    wrong = a != b
    count = int(wrong.sum())
    total = (float(a.sum(dtype=np.float64)), float(b.sum(dtype=np.float64)))
    if not count:
        return NodeDiff(name, *total, 0, wrong.size)
    first = np.unravel_index(int(wrong.argmax()), wrong.shape)
    index = tuple(int(i) for i in first)
    values = (float(a[first]), float(b[first]))
    return NodeDiff(name, *total, count, wrong.size, index[0], index[1:], values)
