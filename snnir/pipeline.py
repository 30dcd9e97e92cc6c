"""Passes and the manager that runs them: pure functions on graphs.

The options of a pass are the fields of its class, a frozen dataclass. Pipelines are written as
text, see `snnir.pipeline_text`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from snnir.carried_origins import carried
from snnir.errors import Diagnostic, SnnirError, error, warn
from snnir.ir.graph import Graph
from snnir.pass_changes import Change, changes_of, count_changed
from snnir.progress import progress, tell

#: What a pass may do to the spikes.
EXACT, EXACT_REAL, APPROXIMATE = "exact", "exact in real arithmetic", "approximate"

#: The pipelines behind -O0, -O1 and -O2; each leaves a verified, discrete graph. What -O0 and -O1
#: do is exact, rounding included; -O2 is exact in real arithmetic.
LEVELS: dict[int, str] = {
    0: "discretize",
    1: "canonicalize,discretize,cse,merge-delays,remove-identity,dead-code",
    2: (
        "canonicalize,discretize,eliminate-reshape,fold-batchnorm,fuse-linear,cse,merge-delays,"
        "remove-identity,dead-code"
    ),
}


@dataclass(frozen=True)
class Pass:
    """Base of all passes; the dataclass fields of a subclass are its options.

    Class attributes:
        name: The word in pipelines.
        fidelity: `exact`, `exact in real arithmetic` or `approximate`.
    """

    name: ClassVar[str]
    fidelity: ClassVar[str] = EXACT

    def run(self, graph: Graph) -> Graph:
        """Return the transformed graph; must not change the one given."""
        raise NotImplementedError

    def __str__(self) -> str:
        options = []
        for item in fields(self):
            value = getattr(self, item.name)
            default = (
                item.default_factory() if item.default_factory is not MISSING else item.default
            )
            if value != default:
                options.append(f"{item.name.replace('_', '-')}={print_option(value)}")
        return f"{self.name}{{{','.join(options)}}}" if options else self.name


P = TypeVar("P", bound=type[Pass])


def register_pass(cls: P) -> P:
    """Class decorator for plug-ins: make a pass known under its name."""
    from snnir.registry import register

    register("passes", cls.name, cls)
    return cls


@dataclass(frozen=True)
class PassRecord:
    """What one pass did.

    Attributes:
        spec: The pass as text.
        fidelity: Its promise.
        seconds: Time it took.
        before, after: Number of nodes.
        changed: Number of nodes added, removed or altered.
        changes: The first hundred of them before and after, as text, and what changed of the
            graph's header and outputs.
    """

    spec: str
    fidelity: str
    seconds: float
    before: int
    after: int
    changed: int
    changes: tuple[Change, ...] = ()

    @property
    def told(self) -> str:
        """What the pass did, in words."""
        if not self.changed:
            return f"nothing changed, {self.seconds * 1e3:.1f} ms"
        nodes = f"{self.before} nodes" + (f" -> {self.after}" if self.after != self.before else "")
        return f"{self.changed} changed ({nodes}), {self.fidelity}, {self.seconds * 1e3:.1f} ms"


@dataclass(frozen=True)
class PipelineResult:
    """A transformed graph and how it came about.

    Attributes:
        graph: What the last pass gave, verified.
        records: What each pass did, in their order.
    """

    graph: Graph
    records: tuple[PassRecord, ...] = ()

    @property
    def losses(self) -> list[str]:
        """Return the passes that changed something and are not exact, with their fidelity."""
        return [
            f"{r.spec}: {r.fidelity}" for r in self.records if r.changed and r.fidelity != EXACT
        ]

    @property
    def approximations(self) -> list[str]:
        """Return the passes that changed something and may change spikes."""
        return [r.spec for r in self.records if r.changed and r.fidelity == APPROXIMATE]


Hook = Callable[[str, Graph], None]


@dataclass(frozen=True)
class Manager:
    """Runs pipelines.

    Attributes:
        verify_each: Verify the graph after every pass.
        before, after: Called with the pass's text and the graph around every pass.
        patience: Seconds after which a pass is warned of as slow.
    """

    verify_each: bool = True
    before: Sequence[Hook] = field(default_factory=tuple)
    after: Sequence[Hook] = field(default_factory=tuple)
    patience: float = 30.0

    def run(self, graph: Graph, passes: Iterable[Pass]) -> PipelineResult:
        """Run passes in order.

        Raises:
            SnnirError: Whatever a pass reports. If a pass fails otherwise, or the verifier rejects
                what it produced, the message names the pass and its place in the pipeline.
        """
        records = []
        items = list(passes)
        for number, item in enumerate(items, 1):
            where = f"pass '{item}' ({number} of {len(items)})"
            for hook in self.before:
                hook(str(item), graph)
            start = time.perf_counter()
            with progress(where):
                result = _result(item, graph, where)
                seconds = time.perf_counter() - start
                result = carried(graph, result, f"pass '{item}'")
                if self.verify_each and result is not graph:
                    self._verify(result, where)
            if seconds > self.patience:
                hint = "fewer calibration inputs or a smaller search would be faster"
                warn(Diagnostic("SNN404", f"{where} took {seconds:.1f} s", hint=hint))
            for hook in self.after:
                hook(str(item), result)
            records.append(_record(item, graph, result, seconds))
            tell("%s: %s", where, records[-1].told)
            graph = result
        return PipelineResult(graph, tuple(records))

    @staticmethod
    def _verify(graph: Graph, where: str) -> None:
        try:
            graph.verify()
        except SnnirError as failure:
            raise error(
                "SNN401",
                f"{where} left a graph that does not verify: {failure.diagnostics[0]}",
                hint="report this to the author of the pass",
            ) from failure


def _result(item: Pass, graph: Graph, where: str) -> Graph:
    """Run one pass, whoever wrote it."""
    try:
        result: Any = item.run(graph)
    except SnnirError:
        raise
    except Exception as failure:
        what = f"{type(failure).__name__}: {failure}".splitlines()[0]
        hint = "report this to the author of the pass"
        raise error("SNN401", f"{where} failed: {what}", hint=hint) from failure
    if not isinstance(result, Graph):
        raise error("SNN401", f"{where} returned a {type(result).__name__}, must be a graph")
    return result


def _record(item: Pass, before: Graph, after: Graph, seconds: float) -> PassRecord:
    changed, changes = count_changed(before, after), changes_of(before, after)
    return PassRecord(str(item), item.fidelity, seconds, len(before), len(after), changed, changes)


def run_pipeline(graph: Graph, pipeline: str, manager: Manager | None = None) -> PipelineResult:
    """Parse and run a textual pipeline."""
    from snnir.pipeline_text import parse_pipeline

    return (manager or Manager()).run(graph, parse_pipeline(pipeline))


def print_option(value: Any) -> str:
    """Return the text of an option's value, as pipelines write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "[" + ",".join(print_option(item) for item in value) + "]"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.\-]*", value):
        return json.dumps(value)
    return repr(value) if isinstance(value, float) else str(value)
