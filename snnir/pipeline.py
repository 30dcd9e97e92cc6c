"""Passes and pipelines: pure functions on graphs, named and composed as text.

A pipeline is `name{option=value,flag,other=[1,2]},name,…`. Options are the fields of the pass, a
frozen dataclass; parsing, printing and checking follow from their types.
"""

from __future__ import annotations

import json
import re
import time
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, TypeVar, Union

from snnir.errors import SnnirError, error
from snnir.ir.graph import Graph

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
                options.append(f"{item.name.replace('_', '-')}={_print_option(value)}")
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
    """

    spec: str
    fidelity: str
    seconds: float
    before: int
    after: int
    changed: int


@dataclass(frozen=True)
class PipelineResult:
    """A transformed graph and how it came about."""

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
    """

    verify_each: bool = True
    before: Sequence[Hook] = field(default_factory=tuple)
    after: Sequence[Hook] = field(default_factory=tuple)

    def run(self, graph: Graph, passes: Iterable[Pass]) -> PipelineResult:
        """Run passes in order.

        Raises:
            SnnirError: Whatever a pass reports; if the verifier rejects what a pass produced, the
                message names that pass.
        """
        records = []
        for item in passes:
            for hook in self.before:
                hook(str(item), graph)
            start = time.perf_counter()
            result = item.run(graph)
            seconds = time.perf_counter() - start
            if self.verify_each and result is not graph:
                self._verify(result, item)
            for hook in self.after:
                hook(str(item), result)
            records.append(_record(item, graph, result, seconds))
            graph = result
        return PipelineResult(graph, tuple(records))

    @staticmethod
    def _verify(graph: Graph, item: Pass) -> None:
        try:
            graph.verify()
        except SnnirError as failure:
            raise error(
                "SNN401",
                f"pass '{item}' left a graph that does not verify: {failure.diagnostics[0]}",
                hint="report this to the author of the pass",
            ) from failure

    def bisect(self, graph: Graph, passes: Sequence[Pass], fails: Callable[[Graph], bool]) -> int:
        """Return the index of the first pass after which `fails(graph)` holds, by halving.

        Assumes that what has failed keeps failing.

        Raises:
            SnnirError: SNN401 if the final graph does not fail, or the first one does.
        """
        if fails(graph) or not fails(self.run(graph, passes).graph):
            raise error("SNN401", "nothing to bisect: no pass turns a good graph into a bad one")
        good, bad = 0, len(passes)
        while bad - good > 1:
            middle = (good + bad) // 2
            if fails(self.run(graph, passes[:middle]).graph):
                bad = middle
            else:
                good = middle
        return bad - 1


def _record(item: Pass, before: Graph, after: Graph, seconds: float) -> PassRecord:
    added = sum(1 for name in after.nodes if name not in before.nodes)
    removed = sum(1 for name in before.nodes if name not in after.nodes)
    altered = sum(1 for n, old in before.nodes.items() if after.nodes.get(n, old) is not old)
    changed = added + removed + altered
    return PassRecord(str(item), item.fidelity, seconds, len(before), len(after), changed)


def run_pipeline(graph: Graph, pipeline: str, manager: Manager | None = None) -> PipelineResult:
    """Parse and run a textual pipeline."""
    return (manager or Manager()).run(graph, parse_pipeline(pipeline))


_TOKEN = re.compile(r"\s*(?:([A-Za-z0-9_.+\-]+)|([{}\[\],=])|(\"(?:[^\"\\]|\\.)*\"))")


def parse_pipeline(text: str) -> list[Pass]:
    """Read `a{x=1},b` into passes.

    Raises:
        SnnirError: SNN401 for bad syntax, an unknown pass or option, or a value of the wrong type.
    """
    tokens = _Tokens(text)
    passes: list[Pass] = []
    while not tokens.done:
        passes.append(_parse_pass(tokens))
        if not tokens.done:
            tokens.expect(",")
            if tokens.done:
                raise tokens.fail("a pass after ','")
    return passes


class _Tokens:
    def __init__(self, text: str) -> None:
        self.text = text
        self.items = list(self._split(text))
        self.at = 0

    def _split(self, text: str) -> Iterator[str]:
        position = 0
        text = text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise error("SNN401", f"pipeline '{text}': unexpected '{text[position]}'")
            yield match[0].strip()
            position = match.end()

    @property
    def done(self) -> bool:
        return self.at >= len(self.items)

    @property
    def next(self) -> str:
        return "" if self.done else self.items[self.at]

    def take(self) -> str:
        token = self.next
        self.at += 1
        return token

    def word(self, what: str) -> str:
        if self.done or self.next in "{}[],=":
            raise self.fail(what)
        return self.take()

    def expect(self, token: str) -> None:
        if self.next != token:
            raise self.fail(f"'{token}'")
        self.at += 1

    def fail(self, wanted: str) -> SnnirError:
        found = f"'{self.next}'" if not self.done else "the end"
        return error("SNN401", f"pipeline '{self.text}': expected {wanted}, found {found}")


def _parse_pass(tokens: _Tokens) -> Pass:
    from snnir.registry import lookup

    name = tokens.word("the name of a pass")
    cls: type[Pass] = lookup("passes", name, "SNN401")
    options: dict[str, Any] = {}
    if tokens.next == "{":
        tokens.take()
        while tokens.next != "}":
            key = tokens.word("an option")
            name_of_field = _field(cls, key)
            options[name_of_field] = _parse_option(cls, key, tokens)
            if tokens.next != "}":
                tokens.expect(",")
        tokens.take()
    try:
        return cls(**options)
    except TypeError as failure:
        raise error("SNN401", f"pass '{name}': {failure}") from failure


def _field(cls: type[Pass], key: str) -> str:
    known = [item.name.replace("_", "-") for item in fields(cls)]
    if key not in known:
        hint = f"its options: {', '.join(known)}" if known else "it has none"
        raise error("SNN401", f"pass '{cls.name}' has no option '{key}'", hint=hint)
    return key.replace("-", "_")


def _parse_option(cls: type[Pass], key: str, tokens: _Tokens) -> Any:
    kind = typing.get_type_hints(cls)[key.replace("-", "_")]
    if tokens.next != "=":
        if kind is bool:
            return True
        raise tokens.fail(f"'=' after option '{key}'")
    tokens.take()
    if tokens.next == "[":
        tokens.take()
        element = (typing.get_args(kind) or (str,))[0]
        values = []
        while tokens.next != "]":
            values.append(_convert(cls, key, element, tokens.word("a value")))
            if tokens.next != "]":
                tokens.expect(",")
        tokens.take()
        return tuple(values)
    return _convert(cls, key, kind, tokens.word("a value"))


def _convert(cls: type[Pass], key: str, kind: Any, text: str) -> Any:
    return convert_text(kind, text, f"pass '{cls.name}': option {key}", "SNN401")


def convert_text(kind: Any, text: str, what: str, code: str) -> Any:
    """Convert the text of an option to the type of its field.

    Raises:
        SnnirError: With the given code, if the text is not of that type.
    """
    if typing.get_origin(kind) in (Union, types.UnionType):
        if text == "none":
            return None
        kind = next(arg for arg in typing.get_args(kind) if arg is not type(None))
    try:
        if kind is bool:
            return {"true": True, "false": False}[text]
        if kind in (int, float):
            return kind(text)
        return json.loads(text) if text.startswith('"') else text
    except (KeyError, ValueError):
        wanted = getattr(kind, "__name__", kind)
        raise error(code, f"{what} is '{text}', must be a {wanted}") from None


def _print_option(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "[" + ",".join(_print_option(item) for item in value) + "]"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.\-]*", value):
        return json.dumps(value)
    return repr(value) if isinstance(value, float) else str(value)
