"""Groups of neurons on the chip, their connections in real numbers, and whether they fit.

A synaptic current of the chip halves at best from step to step, so a neuron without a synapse would
see half of every event again, a quarter a step later, and so on. *Copies* undo this: a copy repeats
the spikes of a source one step later than they are read, and takes away what is left of them. A
population whose spikes are an output, but which others read or inputs feed, is hidden, and a copy
of it is the readout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.lif import FIXED_ONE
from snnir.errors import Diagnostic
from snnir.ir.names import fresh_name
from snnir.targets.xylo.chips import CHIPS, Chip
from snnir.targets.xylo.forms import Forms
from snnir.targets.xylo.response import Curves, Fit, curves, decays, fit
from snnir.targets.xylo.structure import Population, Structure

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Group:
    """Neurons that lie side by side.

    Attributes:
        name: The population, or `copy of SOURCE`, or `output of SOURCE`.
        block: `hidden` or `readout`.
        size: Number of neurons.
        population: What it is in the graph, None for copies.
        source: What a copy repeats.
        first: Its first neuron.
    """

    name: str
    block: str
    size: int
    population: Population | None = None
    source: str = ""
    first: int = 0

    @property
    def span(self) -> slice:
        """Its neurons."""
        return slice(self.first, self.first + self.size)


@dataclass(frozen=True)
class Synapses:
    """Connections to a group: events @ matrix, of every source, in units of its drive.

    Attributes:
        matrices: [events, neurons] by source.
        constant: [neurons].
        fit: Its neurons.
        curves, beta: What they were fitted to: see `response.fit`.
        threshold: [neurons], in the graph's units; infinite where the membrane is read.
    """

    matrices: dict[str, Array]
    constant: Array
    fit: Fit
    curves: Curves
    beta: Array | None
    threshold: Array

    @property
    def direct(self) -> bool:
        """Whether copies cancel its current after a step."""
        return self.fit.direct

    def beside(self, shifts: tuple[int, int]) -> Synapses:
        """Return the same with decays beside the nearest."""
        made = fit(self.curves, self.constant, self.beta, self.direct, shifts)
        ratio = np.divide(made.gain, self.fit.gain, out=np.zeros(len(made.gain)),
                          where=self.fit.gain != 0)  # fmt: skip
        scaled = {source: matrix * ratio for source, matrix in self.matrices.items()}
        return replace(self, matrices=scaled, fit=made)


@dataclass
class Layout:
    """What goes onto a chip.

    Attributes:
        structure: Of the graph.
        chip: Where to.
        groups: By name; those of a block do not overlap.
        synapses: Of every population, by name.
        channels: First channel of every input.
        cancels: Whether copies stand in for the synapses that neurons do not have.
    """

    structure: Structure
    chip: Chip
    synapses: dict[str, Synapses]
    channels: dict[str, int]
    cancels: bool
    groups: dict[str, Group] = field(default_factory=dict)

    def of_block(self, block: str) -> list[Group]:
        """Return the groups of a block, in order."""
        found = [group for group in self.groups.values() if group.block == block]
        return sorted(found, key=lambda group: group.first)

    def count(self, block: str) -> int:
        """Return the neurons of a block."""
        return sum(group.size for group in self.of_block(block))

    def copy_of(self, source: str) -> Group | None:
        """Return the hidden copy of a source, if there is one."""
        return self._repeating(source, "hidden")

    def readout_of(self, source: str) -> Group:
        """Return the readout neurons of a population that is an output."""
        return self._repeating(source, "readout") or self.groups[source]

    def _repeating(self, source: str, block: str) -> Group | None:
        found = (g for g in self.groups.values() if g.source == source and g.block == block)
        return next(found, None)

    def repeat(self, source: str, block: str) -> None:
        """Add neurons that repeat a source, under a name that no population has."""
        kind = "copy" if block == "hidden" else "output"
        name = fresh_name(f"{kind} of {source}", self.groups)
        size = self.structure.size(source)
        self.groups[name] = Group(name, block, size, source=source)

    def readers(self, source: str) -> list[Group]:
        """Return the groups that a source's events reach, itself and copies among them."""
        found = [self.groups[name] for name, own in self.synapses.items() if source in own.matrices]
        return found + [group for group in self.groups.values() if group.source == source]

    def cancelled(self, group: Group) -> bool:
        """Whether copies cancel what is left of the events a group reads."""
        if group.population is None:
            return group.block == "readout" and self.copy_of(group.source) is not None
        return self.synapses[group.name].direct


def lay_out(structure: Structure, chip: Chip, tails: str) -> tuple[Layout, list[Diagnostic]]:
    """Return the layout and what does not fit of it.

    Args:
        structure: Of a graph without problems.
        chip: Where to.
        tails: `cancel` with copies, `keep`, or `auto`: cancel where that fits.
    """
    if tails == "keep":
        layout = _laid(structure, chip, cancels=False)
        return layout, check_layout(layout)
    layout = _laid(structure, chip, cancels=True)
    problems = check_layout(layout)
    if problems and tails == "auto":
        plain = _laid(structure, chip, cancels=False)
        left = check_layout(plain)
        if not left or not layout.cancels:
            return plain, left
        problems = left
    return layout, problems


def check_counts(structure: Structure, chip: Chip) -> list[Diagnostic]:
    """Return which counts are over, before any matrix is made; copies are not counted."""
    sizes = {name: structure.size(name) for name in structure.populations}
    inputs = {name: signal.size for name, signal in structure.graph.inputs.items()}
    blocks: dict[str, dict[str, int]] = {"hidden": {}, "readout": {}}
    for name, population in structure.populations.items():
        blocks[population.block][name] = sizes[name]
    for output in structure.outputs:
        blocks["readout"].setdefault(output.population, sizes[output.population])
    fixed = [
        _over("input channels", inputs, chip.inputs, chip, "pool or encode the input further"),
        _over("hidden neurons", blocks["hidden"], chip.hidden, chip, "make it smaller"),
        _over("output neurons", blocks["readout"], chip.outputs, chip, "give out fewer"),
    ]
    return [problem for problem in fixed if problem is not None]


def _over(what: str, sizes: dict[str, int], most: int, chip: Chip, hint: str) -> Diagnostic | None:
    total = sum(sizes.values())
    if total <= most:
        return None
    largest = max(sizes, key=lambda name: sizes[name])
    text = f"{total} {what}, {chip.name} has {most}: {total - most} too many"
    if len(sizes) > 1:
        text += f"; this is the largest of {len(sizes)}, with {sizes[largest]}"
    field_of = {"input channels": "inputs", "hidden neurons": "hidden"}.get(what, "outputs")
    others = [c.name for c in CHIPS.values() if getattr(c, field_of) >= total]
    hint += f", or use chip={' or '.join(others)}" if others else ""
    return Diagnostic("SNN501", text, largest, hint=hint)


# --- Building ------------------------------------------------------------------------------------


def _laid(structure: Structure, chip: Chip, cancels: bool) -> Layout:
    synapses = _synapses(structure, cancels)
    channels, at = {}, 0
    for name, signal in structure.graph.inputs.items():
        channels[name] = at
        at += signal.size
    layout = Layout(structure, chip, synapses, channels, cancels)
    for name, population in structure.populations.items():
        size = structure.size(name)
        layout.groups[name] = Group(name, population.block, size, population)
    for source in dict.fromkeys(output.population for output in structure.outputs):
        if layout.groups[source].block == "hidden":
            layout.repeat(source, "readout")
    if cancels:
        _add_copies(layout)
        layout.cancels = any(layout.cancelled(group) for group in layout.groups.values())
    _place(layout)
    return layout


def _synapses(structure: Structure, cancels: bool) -> dict[str, Synapses]:
    forms = Forms(structure)
    found = {}
    for name, population in structure.populations.items():
        matrices, constant = forms.of(population)
        size = structure.size(name)
        course = curves(population.op, structure.graph.signal(name).shape, population.late)
        direct = cancels and population.rules.synapse == "none" and population.fires
        beta = _memory(structure, population) if population.fires else None
        own = fit(course, constant, beta, direct)
        threshold = np.full(size, np.inf)
        if population.fires:
            values = population.op.params["threshold"].numpy().astype(np.float64)
            values = values / FIXED_ONE if population.rules.fixed else values
            shape = structure.graph.signal(name).shape
            threshold = np.broadcast_to(values, shape).reshape(-1)
        scaled = {source: matrix * own.gain for source, matrix in matrices.items()}
        found[name] = Synapses(scaled, constant, own, course, beta, threshold)
    return found


def _memory(structure: Structure, population: Population) -> Array:
    """Return what is left of each membrane after a step."""
    shape = structure.graph.signal(population.name).shape
    factor = decays(population.op)[1]
    return np.broadcast_to(0.0 if factor is None else factor, shape).reshape(-1)


def _add_copies(layout: Layout) -> None:
    """Add a hidden copy of every source whose events must not linger somewhere."""
    sources = [source for own in layout.synapses.values() if own.direct for source in own.matrices]
    sources += [group.source for group in layout.groups.values() if group.population is None]
    for source in dict.fromkeys(sources):
        layout.repeat(source, "hidden")


def _place(layout: Layout) -> None:
    """Number the neurons: what inputs feed comes first, what feeds the readout comes last."""
    fed = {name: _is_fed(layout, group) for name, group in layout.groups.items()}
    feeds = {name: _feeds(layout, group) for name, group in layout.groups.items()}
    hidden = [name for name, group in layout.groups.items() if group.block == "hidden"]
    keys = {name: 2 * (not fed[name]) + (feeds[name] if fed[name] else not feeds[name])
            for name in hidden}  # fmt: skip
    # 0: fed; 1: fed and feeding; 2: feeding; 3: neither. Two orders can both be right.
    orders = [(0, 1, 3, 2), (0, 3, 1, 2)]
    for order in orders:
        _number(layout, sorted(hidden, key=lambda name, o=order: o.index(keys[name])))  # type: ignore[misc]
        if not _beyond(layout):
            break
    else:
        _number(layout, sorted(hidden, key=lambda name: orders[0].index(keys[name])))
    _number(layout, [name for name, group in layout.groups.items() if group.block == "readout"])


def _number(layout: Layout, names: list[str]) -> None:
    at = 0
    for name in names:
        layout.groups[name] = replace(layout.groups[name], first=at)
        at += layout.groups[name].size


def _is_fed(layout: Layout, group: Group) -> bool:
    if group.population is None:
        return layout.structure.is_input(group.source)
    return any(layout.structure.is_input(s) for s in layout.synapses[group.name].matrices)


def _feeds(layout: Layout, group: Group) -> bool:
    readers = layout.readers(group.source or group.name)
    if group.population is None:  # a copy reaches what is cancelled
        readers = [reader for reader in readers if layout.cancelled(reader)]
    return any(reader.block == "readout" for reader in readers)


# --- Checking ------------------------------------------------------------------------------------


def check_layout(layout: Layout) -> list[Diagnostic]:
    """Return everything that the chip has no room for."""
    problems = check_counts(layout.structure, layout.chip)
    chip, hidden = layout.chip, layout.count("hidden")
    if hidden > chip.hidden and not problems:
        copies = sum(g.size for g in layout.of_block("hidden") if g.population is None)
        what = (
            f"{hidden} hidden neurons, {copies} of them copies, {chip.name} has {chip.hidden}: "
            f"{hidden - chip.hidden} too many"
        )
        problems.append(Diagnostic("SNN501", what, hint="use tails=keep, or a smaller network"))
    return [*problems, *_fan_out(layout), *_beyond(layout)]


def fan_out(layout: Layout, group: Group) -> Array:
    """Return how many recurrent connections leave each neuron of a hidden group."""
    found = np.zeros(group.size, np.int64)
    if group.population is None:  # itself, and what it cancels
        found += 1
        for reader in layout.readers(group.source):
            if layout.cancelled(reader) and reader.block == "hidden":
                found += _targets(layout, group.source, reader)
        return found
    for reader in layout.readers(group.name):
        if reader.block == "hidden":
            found += _targets(layout, group.name, reader)
    return found


def _targets(layout: Layout, source: str, reader: Group) -> Array:
    if reader.population is None:
        return np.ones(layout.structure.size(source), np.int64)
    found: Array = (layout.synapses[reader.name].matrices[source] != 0).sum(axis=1)
    return found


def _fan_out(layout: Layout) -> Iterator[Diagnostic]:
    chip, total = layout.chip, 0
    sums = {}
    for group in layout.of_block("hidden"):
        counts = fan_out(layout, group)
        sums[group.name] = int(counts.sum())
        total += sums[group.name]
        over = counts > chip.fan_out
        if over.any():
            what = (
                f"{int(over.sum())} of its {group.size} neurons have up to {int(counts.max())} "
                f"recurrent connections each, {chip.name} has {chip.fan_out} per neuron"
            )
            others = [c.name for c in CHIPS.values() if c.fan_out >= counts.max()]
            hint = "use the pass prune" + (f", or chip={' or '.join(others)}" if others else "")
            yield Diagnostic("SNN501", what, group.name, hint=hint)
    if total > chip.connections:
        largest = max(sums, key=lambda name: sums[name])
        what = (
            f"{total} recurrent connections, {chip.name} has {chip.connections}: "
            f"{total - chip.connections} too many; most, {sums[largest]}, begin here"
        )
        yield Diagnostic("SNN501", what, largest, hint="use the pass prune, or fewer neurons")


def _beyond(layout: Layout) -> list[Diagnostic]:
    """Return the groups that input weights cannot reach, or from which none reach the readout."""
    chip, hidden = layout.chip, layout.count("hidden")
    found = []
    for group in layout.of_block("hidden"):
        end = group.first + group.size
        if _is_fed(layout, group) and end > chip.first:
            what = (
                f"inputs feed it, and reach only the first {chip.first} hidden neurons of "
                f"{chip.name}; {end - max(group.first, chip.first)} of its neurons lie beyond"
            )
            found.append(Diagnostic("SNN501", what, group.name, hint=_wider("first", end)))
        start = hidden - chip.last
        if _feeds(layout, group) and group.first < start:
            what = (
                f"it feeds the readout, which only the last {chip.last} hidden neurons of "
                f"{chip.name} reach; {min(start, end) - group.first} of its neurons lie before"
            )
            hint = _wider("last", hidden - group.first)
            found.append(Diagnostic("SNN501", what, group.name, hint=hint))
    return found


def _wider(side: str, needed: int) -> str:
    others = [chip.name for chip in CHIPS.values() if getattr(chip, side) >= needed]
    return "make it smaller" + (f", or use chip={' or '.join(others)}" if others else "")
