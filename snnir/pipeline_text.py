"""Pipelines as text: `name{option=value,flag,other=[1,2]},name,…`."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, Union

from snnir.errors import SnnirError, error, shown
from snnir.pipeline import Pass
from snnir.suggest import hint

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
        meant = hint(key, known, "its options") if known else "it has none"
        raise error("SNN401", f"pass '{cls.name}' has no option '{shown(key)}'", hint=meant)
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


def with_calibration(pipeline: str, path: str) -> str:
    """Return a pipeline whose passes that calibrate do so with the inputs of a file.

    Raises:
        SnnirError: SNN401 if no pass of the pipeline calibrates.
    """
    passes = parse_pipeline(pipeline)
    takers = [item for item in passes if hasattr(item, "calibrate")]
    if not takers:
        hint = "quantize does, for example"
        raise error("SNN401", f"no pass of '{pipeline}' takes calibration inputs", hint=hint)
    known = {id(item) for item in takers if not getattr(item, "calibrate")}  # noqa: B009
    changes: dict[str, Any] = {"calibrate": path}
    return ",".join(str(replace(item, **changes) if id(item) in known else item) for item in passes)
