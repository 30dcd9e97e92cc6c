"""Names from pytree paths and from what a function closes over."""

from __future__ import annotations

import functools
import keyword
import re
from collections.abc import Iterator, Sequence
from typing import Any

#: How deep arrays are looked for in what a function closes over, and how many.
_DEPTH, _MOST = 8, 10_000


def path_text(path: Sequence[Any]) -> str:
    """Return a pytree path as dotted text, such as `hidden.v` or `layers.0.w`."""
    parts = []
    for key in path:
        for attribute in ("key", "idx", "name"):
            if hasattr(key, attribute):
                parts.append(str(getattr(key, attribute)))
                break
    return ".".join(parts)


def identifier(text: str, otherwise: str) -> str:
    """Return text as an identifier that can name a node, a state or an output."""
    cleaned = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    if not cleaned:
        return otherwise
    if cleaned[0].isdigit():
        cleaned = f"{otherwise}_{cleaned}"
    return f"{cleaned}_" if keyword.iskeyword(cleaned) else cleaned


def unique(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Return names with numbers where one comes again."""
    used = set(taken)
    result = []
    for name in names:
        candidate, count = name, 0
        while candidate in used:
            count += 1
            candidate = f"{name}_{count}"
        used.add(candidate)
        result.append(candidate)
    return result


def closed_over(function: Any) -> dict[int, str]:
    """Return what a function calls the arrays it closes over, by the arrays' identity.

    Looks into closures, bound objects, containers, and modules such as those of flax.
    """
    found: dict[int, str] = {}
    seen: set[int] = set()
    todo = [("", function, 0)]
    while todo and len(seen) < _MOST:
        path, item, depth = todo.pop(0)
        if id(item) in seen or depth > _DEPTH:
            continue
        seen.add(id(item))
        if hasattr(item, "shape") and hasattr(item, "dtype") and not hasattr(item, "__wrapped__"):
            found.setdefault(id(_array(item)), path)
        for name, child in _children(item):
            is_function = callable(child) and hasattr(child, "__code__")
            todo.append((path if is_function else _joined(path, name), child, depth + 1))
    return found


def _array(item: Any) -> Any:
    """Return the array a variable of flax holds; an array itself."""
    for name in ("_raw_value", "raw_value"):
        held = getattr(item, name, None)
        if held is not None:
            return held
    return item


def _joined(path: str, name: str) -> str:
    hidden = name.startswith("_") or name in ("self", "func", "fun")
    return path if hidden or not name else f"{path}.{name}" if path else name


def _children(item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, (str, bytes, int, float, bool, type)) or item is None:
        return
    if isinstance(item, dict):
        yield from ((str(key), value) for key, value in list(item.items())[:_MOST])
    elif isinstance(item, (list, tuple)):
        names = getattr(item, "_fields", None) or [str(i) for i in range(len(item))]
        yield from zip(names, item, strict=False)
    elif isinstance(item, functools.partial):
        yield from [("func", item.func), ("", item.args), ("", item.keywords)]
    elif callable(item) and hasattr(item, "__closure__"):
        names = item.__code__.co_freevars
        for name, cell in zip(names, item.__closure__ or (), strict=False):
            try:
                yield name, cell.cell_contents
            except ValueError:
                continue
        used = item.__code__.co_names
        yield from ((n, item.__globals__[n]) for n in used if n in item.__globals__)
    elif hasattr(item, "__self__") and hasattr(item, "__func__"):
        yield from [("self", item.__self__), ("func", item.__func__)]
    elif hasattr(item, "__wrapped__") and callable(item):
        yield "func", item.__wrapped__
    elif not hasattr(item, "dtype") and type(item).__name__ != "module":
        held = getattr(item, "__dict__", None)
        yield from list(held.items()) if isinstance(held, dict) else ()
