"""Streams of events in files: three entries each; copied into emitted folders."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from snnir.events import streams_of


def read_streams(
    path: str, shapes: Mapping[str, tuple[int, ...]], read_arrays: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    """Return `Events` or [T, B, *shape] for every input.

    Args:
        path: A .npy, or a .npz with one array, or with `NAME.time`, `NAME.index` and
            `NAME.sample`, per input.
        shapes: Of the inputs, by name.
        read_arrays: Reads arrays; called for the inputs that are no events.

    Raises:
        ValueError: If events are none, or the file cannot be read.
    """
    try:
        data = np.load(path, allow_pickle=False)
        if not hasattr(data, "files"):
            return read_arrays(path, shapes)
        with data:
            entries = numbered(dict(data))
    except (OSError, EOFError, zipfile.BadZipFile) as problem:
        raise ValueError(f"cannot read {path}: {problem}") from None
    events = streams_of(entries, shapes)
    rest = {name: shape for name, shape in shapes.items() if name not in events}
    return {**events, **(read_arrays(path, rest) if rest else {})}


def numbered(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries by their own names, where they have numbers."""
    names = entries.get("names")
    if names is None or names.dtype.kind != "U":
        return dict(entries)
    return {str(name): entries[f"array_{k}"] for k, name in enumerate(names.tolist())}
