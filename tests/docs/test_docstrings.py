"""Whatever is public says what it is: modules, classes, functions, fields, constants."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import snnir
from snnir.registry import BUILTIN, lookup
from tests.helpers import ROOT

FOLDERS = ("snnir", "frontends", "passes", "targets")
PUBLIC = ("snnir", "snnir.ir", "snnir.dynamics", "snnir.rules", "snnir.encoding")


def sources() -> list[Path]:
    """Return all modules once; the folders of the same name in snnir are links."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    links = tuple(ROOT / "snnir" / folder for folder in FOLDERS)
    return sorted(path for path in found if not any(path.is_relative_to(link) for link in links))


def undocumented(node: ast.AST, name: str) -> Iterator[str]:
    """Give the public names in a module or class that have no docstring."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, kinds) and not ast.get_docstring(node):
        yield name
    if isinstance(node, (ast.Module, ast.ClassDef)):
        for inner in node.body:
            if not isinstance(inner, kinds[1:]) or inner.name.startswith("_"):
                continue
            if "overload" not in {ast.unparse(item) for item in inner.decorator_list}:
                yield from undocumented(inner, f"{name}: {inner.name}")


def test_every_module_class_and_function_has_a_docstring() -> None:
    found = [
        name
        for path in sources()
        for name in undocumented(ast.parse(path.read_text("utf-8")), str(path.relative_to(ROOT)))
    ]
    assert len(sources()) > 400
    assert not found, "\n".join(found)


def exported() -> list[tuple[str, str]]:
    """Return the public names, by the module that readers import them from."""
    return [(module, name) for module in PUBLIC for name in importlib.import_module(module).__all__
            if name != "__version__"]  # fmt: skip


def undescribed(cls: type[Any]) -> list[str]:
    """Return the public fields of a dataclass that no docstring of it or its bases describes.

    A field is described in a section of its own or, as `field`, in a sentence.
    """
    said = "\n".join(inspect.cleandoc(base.__doc__ or "") for base in cls.__mro__)
    code = " ".join(re.findall(r"`+([^`]+)`+", said))
    names = [item.name for item in fields(cls) if not item.name.startswith("_")]
    return [
        name
        for name in names
        if not re.search(rf"^ +(?:\w+, )*{name}(?:, \w+)*:", said, re.MULTILINE)
        and not re.search(rf"\b{name}\b", code)
    ]


@pytest.mark.parametrize(("module", "name"), exported(), ids=lambda text: text)
def test_public_names_are_described(module: str, name: str) -> None:
    value = getattr(importlib.import_module(module), name)
    if isinstance(value, ModuleType) or inspect.isclass(value) or inspect.isroutine(value):
        assert value.__doc__ is not None
        assert not value.__doc__.startswith(f"{name}("), "the docstring is dataclasses' own"
    if inspect.isclass(value) and is_dataclass(value):
        assert not undescribed(value)


def test_what_public_functions_return_is_described() -> None:
    returned = set()
    for module, name in exported():
        value = getattr(importlib.import_module(module), name)
        kinds = re.findall(r"\w+", str(value.__annotations__.get("return", ""))
                           if inspect.isfunction(value) else "")  # fmt: skip
        home = importlib.import_module(value.__module__) if kinds else None
        returned |= {getattr(home, kind, None) for kind in kinds}
    classes = [kind for kind in returned if inspect.isclass(kind) and is_dataclass(kind)]
    assert len(classes) > 5
    assert not [(kind.__name__, undescribed(kind)) for kind in classes if undescribed(kind)]


def test_what_targets_build_is_described() -> None:
    for name in BUILTIN["targets"]:
        lookup("targets", name, "SNN402")
    found = [snnir.Compiled]
    for kind in found:
        found += kind.__subclasses__()
    assert len(found) > 10
    assert not [(kind.__name__, undescribed(kind)) for kind in found if undescribed(kind)]


@pytest.mark.parametrize(
    ("group", "name"),
    [(group, name) for group in ("passes", "targets") for name in BUILTIN[group]],
)
def test_options_are_described(group: str, name: str) -> None:
    assert not undescribed(lookup(group, name, "SNN401"))


def test_every_public_name_is_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    api = importlib.import_module("site_pages.api")
    listed = [name for topic in api.TOPICS if topic.of == "snnir" for name in topic.names]
    assert sorted(listed) == sorted(set(snnir.__all__) - set(api.ELSEWHERE))
    assert {topic.of for topic in api.TOPICS} == set(PUBLIC)
    for topic in api.TOPICS:
        for _, place in topic.objects():
            home, _, name = place.rpartition(".")
            constant = api.comment(importlib.import_module(home), name)
            assert constant != "", f"{place} has no comment that begins with `#:`"
