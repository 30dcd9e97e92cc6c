"""Who may import whom, and what `import snnir` costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import snnir

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "snnir": "snnir",
    "frontends": "snnir.frontends",
    "passes": "snnir.passes",
    "targets": "snnir.targets",
}
BRANCHES = ("snnir.frontends", "snnir.passes", "snnir.targets")

#: What a part of the core may import when it is loaded: itself and these. The rest of the core
#: may import all of the core.
LAYERS = {
    "snnir.errors": set[str](),
    "snnir.kernels": set[str](),
    "snnir.suggest": {"snnir.errors"},
    "snnir.semantics": {"snnir.errors", "snnir.suggest"},
    "snnir.streams": {"snnir.errors"},
    "snnir.tensors": {"snnir.errors", "snnir.streams"},
    "snnir.dynamics": {"snnir.errors", "snnir.semantics", "snnir.streams", "snnir.tensors"},
    "snnir.ir": {
        "snnir.errors",
        "snnir.semantics",
        "snnir.streams",
        "snnir.suggest",
        "snnir.tensors",
        "snnir.dynamics",
    },
    "snnir.cli": {"snnir", "snnir.errors", "snnir.registry", "snnir.suggest"},
}

#: Parts of the core that know no pass, frontend or target, not even inside a function.
INDEPENDENT = tuple(LAYERS)


class Import(NamedTuple):
    """One imported module, the line, and whether loading the importing module loads it."""

    module: str
    line: int
    on_load: bool


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "snnir" and inner[0] in FOLDERS:
                continue  # the links
            parts = inner[:-1] if inner[-1] == "__init__" else inner
            found[".".join((package, *parts))] = path
    return found


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Everything a module imports, absolute."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    return tuple(find_imports(tree, on_load=True))


def find_imports(node: ast.AST, on_load: bool) -> Iterator[Import]:
    """Walk the tree; functions and `if TYPE_CHECKING:` do not count as loading."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, on_load)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: relative import"
        assert node.module is not None
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield Import(inner if inner in modules() else node.module, node.lineno, on_load)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        yield from find_in_all(node.body, on_load=False)
        yield from find_in_all(node.orelse, on_load)
    else:
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from find_in_all(list(ast.iter_child_nodes(node)), on_load and not function)


def find_in_all(nodes: list[ast.AST] | list[ast.stmt], on_load: bool) -> Iterator[Import]:
    for node in nodes:
        yield from find_imports(node, on_load)


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def branch(module: str) -> str | None:
    return next((package for package in BRANCHES if inside(module, package)), None)


def layer(module: str) -> str | None:
    return next((package for package in LAYERS if inside(module, package)), None)


def parents(module: str) -> list[str]:
    """Return the module and the packages it is in; importing it runs them all."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def complaints(rule: str, found: list[tuple[str, Import]]) -> str:
    lines = [f"{modules()[module]}:{item.line}: imports {item.module}" for module, item in found]
    return "\n".join([rule, *lines])


def test_the_package_is_seen() -> None:
    assert "snnir" in modules()
    assert any(branch(module) for module in modules())


def test_branches_do_not_import_each_other() -> None:
    found = [
        (module, item)
        for module in modules()
        for item in imports(module)
        if branch(module) and branch(item.module) not in (None, branch(module))
    ]
    assert not found, complaints("passes, frontends and targets do not know each other", found)


def test_branches_and_tools_do_not_import_the_command_line() -> None:
    found = [
        (module, item)
        for module in modules()
        for item in imports(module)
        if inside(item.module, "snnir.cli")
        and not inside(module, "snnir.cli")
        and module != "snnir.__main__"
    ]
    assert not found, complaints("only the command line imports snnir.cli", found)


def test_core_does_not_load_branches() -> None:
    found = [
        (module, item)
        for module in modules()
        for item in imports(module)
        if branch(module) is None
        and branch(item.module)
        and (item.on_load or any(inside(module, part) for part in INDEPENDENT))
    ]
    assert not found, complaints("the core finds passes, frontends and targets by name", found)


def test_layers_of_the_core() -> None:
    found = [
        (module, item)
        for module in modules()
        for item in imports(module)
        if (part := layer(module)) is not None
        and item.on_load
        and inside(item.module, "snnir")
        and not inside(item.module, part)
        and item.module not in LAYERS[part]
        and layer(item.module) not in LAYERS[part]
    ]
    assert not found, complaints("LAYERS says what these parts may import", found)


def test_nothing_imports_a_bare_folder() -> None:
    found = [
        (module, item)
        for module in modules()
        for item in imports(module)
        if item.module.split(".")[0] in ("frontends", "passes", "targets")
    ]
    assert not found, complaints("a bare folder would be loaded a second time", found)


def test_import_snnir_reaches_no_library_but_numpy() -> None:
    seen: set[str] = set()
    found = []
    ahead = ["snnir"]
    while ahead:
        module = ahead.pop()
        if module in seen or module not in modules():
            continue
        seen.add(module)
        for item in imports(module):
            if not item.on_load:
                continue
            top = item.module.split(".")[0]
            if top == "snnir":
                ahead += parents(item.module)
            elif top != "numpy" and top not in sys.stdlib_module_names:
                found.append((module, item))
    assert not found, complaints("import libraries inside the function that needs them", found)


LOADED = """
import json, sys
import numpy
with_numpy = set(sys.modules)
import snnir
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - with_numpy})))
"""


def test_import_snnir_loads_only_numpy_and_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert loaded - sys.stdlib_module_names <= {"snnir", "numpy"}


@pytest.mark.parametrize("folder", ["frontends", "passes", "targets"])
def test_bare_folder_refuses_to_be_imported(folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"snnir.{folder}" in done.stderr


def test_no_public_name_is_that_of_a_module() -> None:
    """Importing a module would put it in the place of the function, under `snnir.NAME`."""
    modules = {path.stem for path in (ROOT / "snnir").iterdir() if not path.name.startswith("_")}
    assert modules & set(snnir.__all__) == {"rules"}  # which is meant
