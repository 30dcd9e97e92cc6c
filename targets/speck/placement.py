"""Which layer goes to which core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from snnir.targets.speck.chips import Chip, Memory
from snnir.targets.speck.core import Excess, Geometry, Shape, excess


@dataclass(frozen=True)
class Refusal:
    """Why a layer has no core.

    Attributes:
        layer: Its name.
        message: What and why.
        hint: What would help.
    """

    layer: str
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Placement:
    """Where layers are.

    Attributes:
        cores: Core by layer; not all are there if something was refused.
        lacking: By layer and core, the memories that are too small.
        refusals: Layers without a core.
    """

    cores: dict[str, int]
    lacking: dict[str, dict[int, list[Excess]]]
    refusals: list[Refusal] = field(default_factory=list)

    def candidates(self, layer: str) -> list[int]:
        """Return the cores a layer fits."""
        return [core for core, lack in self.lacking[layer].items() if not lack]


def place(layers: Mapping[str, Geometry], chip: Chip) -> Placement:
    """Find a core for every layer: a matching of layers and cores that fit.

    It is the first largest one in order of layers and cores, so it depends on the network alone.
    """
    lacking = {
        name: {core: excess(geometry.words, there) for core, there in enumerate(chip.cores)}
        for name, geometry in layers.items()
    }
    # Heavy to import, and not needed to list targets.
    import networkx as nx

    found = Placement({}, lacking)
    alone = [_too_big(name, lacking[name], layers[name], chip) for name in layers]
    found.refusals.extend(refusal for refusal in alone if refusal is not None)
    names = [name for name in layers if found.candidates(name)]
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(names)))
    for index, name in enumerate(names):
        graph.add_edges_from((index, len(names) + core) for core in found.candidates(name))
    matched = nx.bipartite.hopcroft_karp_matching(graph, range(len(names)))
    found.cores.update({n: matched[i] - len(names) for i, n in enumerate(names) if i in matched})
    left = [name for name in names if name not in found.cores]
    if left:
        found.refusals.extend(_crowded(left, found, layers, chip))
    return found


def _too_big(
    name: str, lacks: Mapping[int, list[Excess]], geometry: Geometry, chip: Chip
) -> Refusal | None:
    """Return why a layer fits no core, if it does not."""
    if not all(lacks.values()):
        return None
    core = min(lacks, key=lambda c: max(e.needed / e.there for e in lacks[c]))
    over = ", ".join(f"{e.memory} {100 * e.needed / e.there - 100:.0f} %" for e in lacks[core])
    listed = " and ".join(map(str, lacks[core]))
    what = f"fits no core: on core {core}, the nearest, {listed} ({over} too much)"
    return Refusal(name, what, advice(geometry, chip.cores))


def advice(geometry: Geometry, cores: tuple[Memory, ...]) -> str:
    """Return what change of a layer would make it fit a core."""
    shape, source = geometry.target, geometry.source
    most = max(shape.height, shape.width)

    def maps(size: int) -> Shape:
        return Shape(shape.channels, min(shape.height, size), min(shape.width, size))

    changes: list[tuple[int, Callable[[int], Geometry], str]] = [
        (
            shape.channels,
            lambda n: replace(geometry, target=replace(shape, channels=n)),
            f"{{}} output channels instead of {shape.channels}",
        ),
        (
            source.channels,
            lambda n: replace(geometry, source=replace(source, channels=n)),
            f"{{}} input channels instead of {source.channels}",
        ),
        (
            most,
            lambda n: replace(geometry, target=maps(n)),
            "maps of {0}x{0} at most (a stride, or a pool before)",
        ),
    ]
    found = []
    for now, changed, words in changes:
        sizes = range(now - 1, 0, -1)
        fits = (n for n in sizes if any(not excess(changed(n).words, there) for there in cores))
        size = next(fits, None)
        if size is not None:
            found.append(words.format(size))
    return f"it would fit with {'; or '.join(found)}" if found else "make it smaller"


def _crowded(
    left: list[str], found: Placement, layers: Mapping[str, Geometry], chip: Chip
) -> list[Refusal]:
    """Return why layers that each fit some core do not fit together."""
    refusals = []
    for name in left:
        rivals, cores = _rivals(name, found)
        listed = ", ".join(map(str, sorted(cores)))
        names = ", ".join(f"'{rival}'" for rival in rivals)
        what = f"fits cores {listed} only, which {names} need too"
        if len(layers) > len(chip.cores):
            what = f"is one of {len(layers)} layers; the chip has {len(chip.cores)} cores"
        hint = "make one of them smaller, so that it fits another core, or join two layers"
        refusals.append(Refusal(name, what, hint))
    return refusals


def _rivals(name: str, found: Placement) -> tuple[list[str], set[int]]:
    """Return the layers that compete for cores with one that has none, and those cores."""
    cores, rivals, pending = set(found.candidates(name)), {name}, True
    while pending:
        more = {n for n, core in found.cores.items() if core in cores} - rivals
        rivals |= more
        cores |= {core for rival in more for core in found.candidates(rival)}
        pending = bool(more)
    return sorted(rivals - {name}), cores


def placement_facts(found: Placement, layers: Mapping[str, Geometry], chip: Chip) -> list[Any]:
    """Return a JSON-ready table: every layer's core, memory, and why not another core."""
    rows = []
    for name, geometry in layers.items():
        core = found.cores[name]
        words, there = geometry.words, chip.cores[core]
        memory = {
            memory: {"needed": getattr(words, memory), "there": getattr(there, memory)}
            for memory in ("kernel", "neuron", "bias")
        }
        others = {str(c): list(map(str, lack)) for c, lack in found.lacking[name].items() if lack}
        rows.append(
            {
                "layer": name, "core": core, "memory": memory,
                "fits": found.candidates(name), "too_small": others,
            }
        )  # fmt: skip
    return rows
