"""IPUs with few and small tiles, and networks for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import snnir
from snnir.ir import (
    Add,
    Current,
    Delay,
    Graph,
    Input,
    Signal,
    SparseLinear,
)
from snnir.ir.op import Op
from snnir.pipeline import PipelineResult
from snnir.streams import Kind
from snnir.targets.ipu.machine import TILE_BYTES, TILES, Machine
from snnir.targets.ipu.target import IpuCompiled, IpuTarget
from tests.helpers import dyadic, graph, lif_step

Nodes = dict[str, tuple[Op, list[str]]]


@dataclass(frozen=True)
class SmallIpu(IpuTarget):
    """The target, with fewer and smaller tiles than there are."""

    name: ClassVar[str] = "ipu"
    tiles: int = TILES
    tile_bytes: int = TILE_BYTES

    @property
    def machine(self) -> Machine:
        return Machine(self.ipus // self.replicas, self.reserve, self.tiles, self.tile_bytes)


def compiled(built: Graph, **options: Any) -> IpuCompiled:
    """Return a graph for a machine, with nothing changed before."""
    target = SmallIpu(**options)
    problems = target.check(built)
    if problems:
        raise snnir.SnnirError(problems)
    made = target.build(built, PipelineResult(built))
    assert isinstance(made, IpuCompiled)
    return made


def facts(made: IpuCompiled) -> dict[str, Any]:
    """Return the plan of a folder."""
    content = made.files["plan.json"]
    assert isinstance(content, bytes)
    found: dict[str, Any] = json.loads(content)
    return found


def like(monkeypatch: pytest.MonkeyPatch, made: IpuCompiled) -> None:
    """Make the stand-in's IPUs those that a plan is for."""
    target = made.target
    assert isinstance(target, SmallIpu)
    monkeypatch.setenv("SNNIR_IPU_TILES", str(target.tiles))
    monkeypatch.setenv("SNNIR_IPU_BYTES", str(target.tile_bytes))


# --- Networks ------------------------------------------------------------------------------------


def _input(*shape: int) -> tuple[Op, list[str]]:
    return Input(Signal(Kind.SPIKES, shape)), []


def matrix(rows: int, columns: int, entries: int, seed: int = 0) -> SparseLinear:
    """Return a matrix with so many entries in each row, at random places."""
    rng = np.random.default_rng(seed)
    own = np.sort(rng.integers(0, columns - entries + 1, (rows, entries), np.int32), axis=1)
    own += np.arange(entries, dtype=np.int32)
    values = (rng.integers(-96, 160, (rows * entries, 1)) / 256).astype(np.float32)
    starts = np.arange(rows + 1, dtype=np.int64) * entries
    weights, places, begins = map(snnir.tensor, (values, own.reshape(-1), starts))
    return SparseLinear(weights, places, begins, columns, rows)


def recurrent(neurons: int, entries: int, steps: int = 1) -> Graph:
    """Return neurons that excite each other through a sparse matrix after some steps."""
    nodes: Nodes = {
        "x": _input(neurons),
        "current": (Current(), ["x"]),
        "late": (Delay(steps), ["lif"]),
        "recurrent": (matrix(neurons, neurons, entries), ["late"]),
        "sum": (Add(), ["current", "recurrent"]),
        "lif": (lif_step(), ["sum"]),
    }
    return graph(nodes, "lif", dt=1e-3)


def uneven(neurons: int = 60, columns: int = 400) -> Graph:
    """Return neurons of which the first have many more inputs than the last."""
    dense = dyadic((neurons, columns))
    for row in range(neurons):
        dense[row, columns // (row + 1) :] = 0
    nodes: Nodes = {
        "x": _input(columns),
        "fc": (SparseLinear.of(dense), ["x"]),
        "lif": (lif_step(), ["fc"]),
    }
    return graph(nodes, "lif", dt=1e-3)
