"""The two sides of a comparison: anything that has run, or can be run, on an input."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from snnir.artefact import is_artefact, open_artefact
from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron, Step
from snnir.running import KEPT

Array = npt.NDArray[Any]


@dataclass
class Traces:
    """What a run gave: [T, B, *shape] by name; and what lasts of it, by `node:state`."""

    outputs: dict[str, Array]
    recorded: dict[str, Array] = field(default_factory=dict)
    lasting: dict[str, Array] = field(default_factory=dict)


class Side(Protocol):
    """One side."""

    def populations(self, x: Any) -> list[str] | None:
        """Return the names of its populations in order of flow, None if only a run can tell."""

    def run(self, x: Any, record: Sequence[str]) -> Traces:
        """Return its outputs and the populations asked for."""


def side_of(model: Any) -> Side:
    """Return a graph, a path or a live model as a side.

    Live models: a torch module, a network of BindsNET (or with options of `from_bindsnet`),
    (jaxsnn topology, params), (step function, state, example).

    Raises:
        SnnirError: SNN601 for anything else.
    """
    if isinstance(model, Graph):
        return GraphSide(model)
    if isinstance(model, (str, Path)):
        path = Path(model)
        if path.suffix == ".npz":
            return Recording(path)
        return FolderSide(path) if is_artefact(path) else FileSide(path)
    if is_bindsnet(model) or is_bindsnet_pair(model):
        network, options = model if isinstance(model, tuple) else (model, {})
        return OwnSide("bindsnet", (network,), options)
    if is_to_torch(model):
        return OwnSide("to-torch", (model,))
    if callable(getattr(model, "forward", None)) and hasattr(model, "named_modules"):
        return LiveSide(model)
    if is_topology_pair(model):
        return OwnSide("jaxsnn", model)
    if is_step(model):
        kind = "export" if is_torch_step(model) else "jaxpr"
        return OwnSide(kind, model[:3], *model[3:])
    raise error(
        "SNN601", f"cannot compare a {type(model).__name__}",
        hint="give a graph, a file, an artefact folder, a recording (.npz), a torch module, "
        "a network of BindsNET, (jaxsnn topology, params) or (step function, state, example)",
    )  # fmt: skip


@dataclass
class GraphSide:
    """A graph, run by the reference simulator."""

    graph: Graph

    def populations(self, x: Any) -> list[str] | None:
        """Return the neurons."""
        ops = ((name, self.graph.nodes[name].op) for name in self.graph.order)
        return [name for name, op in ops if isinstance(op, (Neuron, Step))]

    def run(self, x: Any, record: Sequence[str]) -> Traces:
        """Run it."""
        from snnir.driver import run

        result = run(self.graph, wanted(x), record)
        return Traces(result.outputs, result.recorded, result.lasting)


@dataclass
class FileSide:
    """A model file."""

    path: Path

    @cached_property
    def inner(self) -> GraphSide:
        """The file's graph."""
        from snnir.driver import load

        return GraphSide(load(self.path))

    def populations(self, x: Any) -> list[str] | None:
        """Return the neurons."""
        return self.inner.populations(x)

    def run(self, x: Any, record: Sequence[str]) -> Traces:
        """Run it."""
        return self.inner.run(x, record)


@dataclass
class FolderSide:
    """An artefact folder, run from its files alone."""

    path: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Its manifest."""
        return open_artefact(self.path).manifest

    def populations(self, x: Any) -> list[str] | None:
        """Return the populations its manifest lists."""
        return list(self.facts.get("populations", {}))

    def run(self, x: Any, record: Sequence[str]) -> Traces:
        """Run it."""
        from snnir.driver import run

        result = run(self.path, wanted(x), record)
        return Traces(result.outputs, result.recorded, result.lasting)


@dataclass
class Recording:
    """A run that has happened: a `.npz` of arrays, or one written by `snnir run`."""

    path: Path

    def populations(self, x: Any) -> list[str] | None:
        """Names come from the other side."""
        return None

    def run(self, x: Any, record: Sequence[str]) -> Traces:
        """Return what was recorded."""
        return self.traces

    @cached_property
    def traces(self) -> Traces:
        """The arrays.

        Raises:
            SnnirError: SNN101 if the file cannot be read.
        """
        try:
            with np.load(self.path, allow_pickle=False) as data:
                arrays = dict(data)
            if "names" in arrays:
                names = [str(name) for name in arrays["names"].tolist()]
                arrays = {name: arrays[f"array_{i}"] for i, name in enumerate(names)}
        except (
            OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error,
        ) as failure:  # fmt: skip
            message = f"is not a readable .npz ({failure})"
            raise error("SNN101", message, source=str(self.path)) from None
        outputs = {k[7:]: v for k, v in arrays.items() if k.startswith("output/")}
        kept = {k.removeprefix(KEPT): v for k, v in arrays.items() if k.startswith(KEPT)}
        others = {k: v for k, v in arrays.items() if not k.startswith(("output/", KEPT))}
        return Traces(outputs, {k.removeprefix("record/"): v for k, v in others.items()}, kept)


@dataclass
class LiveSide:
    """A torch module, run by its own framework."""

    net: Any
    _live: Any = None

    def live(self, x: Any) -> Any:
        """Return the module with its layout and the names of its neurons."""
        if self._live is None:
            from snnir.registry import lookup

            self._live = lookup("live", "torch", "SNN101")(self.net, _single(x))
        return self._live

    def populations(self, x: Any) -> list[str] | None:
        """Return the neurons."""
        return list(self.live(x).names)

    def run(self, x: Any, record: Sequence[str]) -> Traces:
        """Run it from rest; its states are put back."""
        outputs, recorded = self.live(x).run(_single(x))
        return Traces(outputs, {n: recorded[n] for n in record if n in recorded})


@dataclass
class OwnSide:
    """A model that its framework runs without being asked how: a topology, a step function.

    Attributes:
        kind: What runs it, of the group `live`.
        arguments, options: What that takes.
    """

    kind: str
    arguments: Sequence[Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def live(self) -> Any:
        """The model as something that runs."""
        from snnir.registry import lookup

        return lookup("live", self.kind, "SNN101")(*self.arguments, **self.options)

    def populations(self, x: Any) -> list[str] | None:
        """Return what is known of its populations."""
        return list(self.live.names)

    def run(self, x: Any, record: Sequence[str]) -> Traces:
        """Run it from rest."""
        outputs, recorded = self.live.run(wanted(x))
        return Traces(outputs, {n: recorded[n] for n in record if n in recorded})


def graph_of(side: Side) -> Graph | None:
    """Return the graph of a side that has one."""
    if isinstance(side, FileSide):
        return side.inner.graph
    return side.graph if isinstance(side, GraphSide) else None


def dt_of(side: Side) -> float | None:
    """Return the seconds per step of a side, if they are known."""
    if isinstance(side, FolderSide):
        dt = side.facts.get("dt")
        return float(dt) if isinstance(dt, (int, float)) and 0 < dt < float("inf") else None
    graph = graph_of(side)
    return None if graph is None else graph.dt


def name_of(side: Side) -> str:
    """Return what a side is, for people."""
    if isinstance(side, (FileSide, FolderSide, Recording)):
        return str(side.path)
    if isinstance(side, GraphSide):
        return side.graph.name
    return type(side.net).__name__ if isinstance(side, LiveSide) else getattr(side, "kind", "")


def is_to_torch(model: Any) -> bool:
    """Whether a torch module was made by `snnir.to_torch`; nothing is imported to find out."""
    return any(
        cls.__name__ == "Network" and cls.__module__ == "snnir.targets.torch_sim.engine"
        for cls in type(model).__mro__
    )


def is_bindsnet(model: Any) -> bool:
    """Whether a model is a network of BindsNET; nothing is imported to find out."""
    return any(
        cls.__name__ == "Network" and cls.__module__ == "bindsnet.network.network"
        for cls in type(model).__mro__
    )


def is_bindsnet_pair(model: Any) -> bool:
    """Whether a model is (network of BindsNET, options of `from_bindsnet`)."""
    if not isinstance(model, tuple) or len(model) != 2 or not is_bindsnet(model[0]):
        return False
    return isinstance(model[1], Mapping)


def is_topology(model: Any) -> bool:
    """Whether a model is a jaxsnn topology; nothing is imported to find out."""
    return any(
        cls.__name__ == "Topology" and cls.__module__.startswith("jaxsnn.")
        for cls in type(model).__mro__
    )


def is_topology_pair(model: Any) -> bool:
    """Whether a model is (jaxsnn topology, params)."""
    return isinstance(model, tuple) and len(model) == 2 and is_topology(model[0])


def is_step(model: Any) -> bool:
    """Whether a model is (step function, state, example), maybe with a mapping of options."""
    if not isinstance(model, tuple) or len(model) not in (3, 4) or not callable(model[0]):
        return False
    return len(model) == 3 or isinstance(model[3], Mapping)


def is_torch_step(model: tuple[Any, ...]) -> bool:
    """Whether a step function is torch's: its example has tensors, or it is of torch itself."""
    todo = [model[2]]
    while todo:
        item = todo.pop()
        if isinstance(item, Mapping):
            todo += item.values()
        elif isinstance(item, (tuple, list)):
            todo += item
        elif _of_torch(item):
            return True
    return _of_torch(model[0])


def _of_torch(item: Any) -> bool:
    return any(cls.__module__.split(".")[0] == "torch" for cls in type(item).__mro__)


def _single(x: Any) -> Array:
    if isinstance(x, Mapping):
        if len(x) != 1:
            raise error("SNN601", "a live module takes one input")
        x = next(iter(x.values()))
    return np.asarray(wanted(x), np.float32)


def wanted(x: Any) -> Any:
    """Return an input, which models need.

    Raises:
        SnnirError: SNN601 if there is none.
    """
    if x is None:
        raise error("SNN601", "comparing models needs an input", hint="give one with --input")
    return x
