"""Targets: what they declare, what they build, and how their folders are written.

A target is a frozen dataclass; its fields are its options. `check` lists everything that does not
fit, at once; `build` gives an object that runs in memory and can be saved as a folder that
explains itself: `manifest.json`, the artefact, and `report.html`.
"""

from __future__ import annotations

import dataclasses
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar

import numpy.typing as npt

from snnir.errors import Diagnostic, SnnirError, error, shown
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron
from snnir.ir.random import Uniform
from snnir.lasting import is_learning
from snnir.memory import collection_paused
from snnir.pipeline import PipelineResult, run_pipeline
from snnir.pipeline_text import convert_text
from snnir.progress import progress, tell, tell_more
from snnir.running import Result
from snnir.streams import Signal
from snnir.suggest import hint

if TYPE_CHECKING:
    from snnir.loss_report import LossReport
    from snnir.operations import Activity

#: Content of one file of an artefact: bytes, or a function that writes it to a binary stream.
Content = bytes | Callable[[BinaryIO], None]
#: A table of a report: its head and its rows.
Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


@dataclass(frozen=True)
class Target:
    """Base of all targets; the dataclass fields of a subclass are its options.

    Class attributes:
        name: The word after `--target`.
        summary: One line for `snnir list targets`.
        between: If streams begin and end in populations, as on chips, attributes of the LIF family
            that such populations have; the support matrix shows ops between two of them.
        continuous: Whether it takes neurons that no pass has discretised; its populations are such.
        learns: Whether it takes synapses that learn, random numbers, and all other states that
            outlive a run.
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    between: ClassVar[Mapping[str, str]] = {}
    continuous: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    def pipeline(self, level: int) -> str:
        """Return the passes the target needs before `build`, for an optimisation level."""
        raise NotImplementedError

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Return everything about a graph that this target cannot express."""
        raise NotImplementedError

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the artefact of a graph that passed `check`."""
        raise NotImplementedError

    def losses(self, graph: Graph) -> LossReport:
        """Return what the target keeps of every node of a graph that went through its passes."""
        from snnir.loss_report import report

        return report(graph, self.name)


def still_continuous(graph: Graph) -> list[Diagnostic]:
    """Return the neurons that no pass has made step programs of."""
    return [
        Diagnostic("SNN501", "is still continuous", node.name, hint="run the pass discretize")
        for node in graph.nodes.values()
        if isinstance(node.op, Neuron)
    ]


def still_learning(graph: Graph, name: str) -> list[Diagnostic]:
    """Return the nodes with states that outlive a run, for a target that has no such."""
    problems = []
    for node in graph.nodes.values():
        if is_learning(node.op):
            what = f"learns while it runs, which target '{name}' does not"
            hint = "run the pass freeze to take the network as it is"
        elif isinstance(node.op, Uniform):
            what = f"draws random numbers, which target '{name}' does not"
            hint = "let an input give them"
        else:
            continue
        problems.append(Diagnostic("SNN501", what, node.name, hint=hint))
    return problems


def losses_of(target: Target, graph: Graph) -> LossReport:
    """Return what a target keeps of every node, also of what it does not take at all."""
    from snnir.loss_report import REFUSED, NodeLoss, report

    problems = [] if target.learns else still_learning(graph, target.name)
    if not problems:
        return target.losses(graph)
    refused = [NodeLoss(p.node, REFUSED, p.message) for p in problems if p.node is not None]
    return report(graph, target.name, refused)


def misfits(target: Target, graph: Graph) -> list[Diagnostic]:
    """Return everything about a graph that keeps a target from building it."""
    learning = [] if target.learns else still_learning(graph, target.name)
    return learning or target.check(graph)


T = TypeVar("T", bound=type[Target])


def register_target(cls: T) -> T:
    """Class decorator for plug-ins: make a target known under its name."""
    from snnir.registry import register

    register("targets", cls.name, cls)
    return cls


@dataclass(frozen=True)
class Compiled:
    """A graph built for a target.

    Attributes:
        graph: What was built, after all passes.
        target: What it was built for.
        files: The artefact's files by relative path, without manifest and report.
        history: What the passes did.
        entry: File that runs the artefact, if one does.
        inputs, outputs: What it takes and gives; by default what the graph does.
        tables: Sections of the report by title, each a head and rows.
        pictures: Pictures of the report by title: bytes of a PNG file, or the text of an SVG
            element, in which names from outside are escaped.
    """

    graph: Graph
    target: Target
    files: Mapping[str, Content] = field(repr=False)
    history: PipelineResult
    entry: str = ""
    inputs: Mapping[str, Signal] = field(default_factory=dict, kw_only=True)
    outputs: Mapping[str, Signal] = field(default_factory=dict, kw_only=True)
    tables: Mapping[str, Table] = field(default_factory=dict, kw_only=True, repr=False)
    pictures: Mapping[str, bytes | str] = field(default_factory=dict, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if not self.inputs:
            object.__setattr__(self, "inputs", self.graph.inputs)
        if not self.outputs:
            given = {name: self.graph.signals[v] for name, v in self.graph.outputs.items()}
            object.__setattr__(self, "outputs", given)

    @cached_property
    def losses(self) -> LossReport:
        """What was kept of every node; see `Target.losses`."""
        return self.target.losses(self.graph)

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Run in memory; see the target's simulator.

        Raises:
            SnnirError: SNN501 if the target does not run in memory.
        """
        hint = "save it, and run the folder by its own means"
        raise error("SNN501", f"target '{self.target.name}' cannot be run in memory", hint=hint)

    def save(self, folder: str | Path, activity: Activity | None = None) -> Path:
        """Write the artefact folder atomically and return its path.

        An existing artefact folder is replaced; any other existing folder must be empty.

        Args:
            folder: Where it is written.
            activity: What the graph did on some input (`snnir.activity`), shown in the report.

        Raises:
            SnnirError: SNN702 if the folder cannot be written.
        """
        from snnir.artefact import write_artefact

        return write_artefact(self, Path(folder), activity)


def target_from(name: str, options: Mapping[str, Any]) -> Target:
    """Return a target with options; texts (as from `--set`) are converted by the field's type.

    Raises:
        SnnirError: SNN503 for an unknown target or option, or a value of the wrong type.
    """
    from snnir.registry import lookup

    cls: type[Target] = lookup("targets", name, "SNN503")
    known = {item.name: item for item in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in options.items():
        attribute = key.replace("-", "_")
        if attribute not in known:
            meant = hint(key, known, "its options") if known else "it has none"
            raise error("SNN503", f"target '{name}' has no option '{shown(key)}'", hint=meant)
        what = f"target '{name}': option {key}"
        is_text = isinstance(value, str)
        values[attribute] = (
            convert_text(hints[attribute], value, what, "SNN503") if is_text else value
        )
    return cls(**values)


def build_for(target: Target, graph: Graph, passes: str | None = None, level: int = 1) -> Compiled:
    """Run the passes a target needs, check that the result fits, and build it.

    Args:
        target: The target.
        graph: The graph to compile.
        passes: A pipeline to run instead of the target's own for the level, before what the
            target cannot do without.
        level: Optimisation level, 0 to 2.

    Raises:
        SnnirError: Everything that does not fit, at once.
    """
    if level not in (0, 1, 2):
        raise error("SNN503", f"optimisation level {level} does not exist", hint="use 0, 1 or 2")
    with collection_paused():
        return _build(target, graph, passes, level)


def _build(target: Target, graph: Graph, passes: str | None, level: int) -> Compiled:
    first = run_pipeline(graph, passes) if passes is not None else PipelineResult(graph)
    rest = run_pipeline(first.graph, target.pipeline(0 if passes is not None else level))
    history = PipelineResult(rest.graph, (*first.records, *rest.records))
    began = time.perf_counter()
    with progress(f"building for {target.name}"):
        problems = misfits(target, history.graph)
        if problems:
            raise SnnirError(problems)
        built = target.build(history.graph, history)
    options = ", ".join(f"{f.name}={getattr(target, f.name)}" for f in dataclasses.fields(target))
    seconds = time.perf_counter() - began
    tell("built %d nodes for %s, %.2f s", len(built.graph), target.name, seconds)
    tell_more("options of %s: %s", target.name, options or "none")
    return built
