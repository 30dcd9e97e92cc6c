"""Source of our own modules as text, for generated programs that run without snnir."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable
from types import ModuleType
from typing import Any


def plain_text(name: str) -> str:
    """Return a name as it may stand in any comment or docstring: nothing in it can end one."""
    return re.sub(r"[^A-Za-z0-9_.: -]", "?", name)[:60]


def module_body(module: ModuleType) -> str:
    """Return a module's source without its docstring, imports and `__future__` line."""
    source = inspect.getsource(module)
    tree = ast.parse(source)
    first = next(
        node
        for node in tree.body
        if not isinstance(node, (ast.Import, ast.ImportFrom)) and not _is_text(node)
    )
    line = first.lineno - 1
    if isinstance(first, (ast.FunctionDef, ast.ClassDef)) and first.decorator_list:
        line = first.decorator_list[0].lineno - 1
    lines = source.splitlines()
    while line and lines[line - 1].startswith("#"):
        line -= 1
    return "\n".join(lines[line:]).rstrip() + "\n"


def folder_source(command: Any, modules: Iterable[ModuleType], facts: str = "") -> str:
    """Return the program of an emitted folder.

    Args:
        command: Module of its command line: `HEAD`, with docstring and imports, and `main`.
        modules: What `main` calls, in order; their bodies are copied.
        facts: Definitions between the two.
    """
    body = module_body(command)
    parts = [
        command.HEAD, *(f"\n\n{module_body(module)}" for module in modules), facts,
        body[body.index("\n\ndef main") :],
        '\n\nif __name__ == "__main__":\n    main()\n',
    ]  # fmt: skip
    return "".join(parts)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def function_sources(module: ModuleType, names: Iterable[str]) -> list[str]:
    """Return the source of functions of a module and of whatever they use there, in its order."""
    functions = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) or inspect.isclass(value)
        if value.__module__ == module.__name__
    }
    wanted: set[str] = set()
    pending = sorted(names)
    while pending:
        name = pending.pop()
        if name not in wanted:
            wanted.add(name)
            used = {n.id for n in ast.walk(_tree(functions[name])) if isinstance(n, ast.Name)}
            pending.extend(sorted(used & set(functions)))
    return [inspect.getsource(functions[name]).strip() for name in functions if name in wanted]


def _tree(function: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))
