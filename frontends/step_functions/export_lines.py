"""Where in the user's code the operations of an exported program come from."""

from __future__ import annotations

import contextlib
import linecache
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch step function is)
import torch.fx.traceback as marks  # noqa: TID253
from torch.overrides import TorchFunctionMode  # noqa: TID253

#: Key of the marks of this module on the nodes of a program.
_KEY = "snnir"
#: Folders whose lines are not the user's; packages beside them are.
_HERE, _TORCH = str(Path(__file__).parent), str(Path(torch.__file__).parent)
_PYTHON = str(Path(linecache.__file__).parent)
_PACKAGES = ("site-packages", "dist-packages")
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_ASSIGNED = re.compile(r"\s*(?:self\.)?([A-Za-z_]\w*)\s*(?::[^=]+)?=(?!=)")


def is_own(file: str) -> bool:
    """Whether a file is neither torch's, nor Python's, nor this package's."""
    if file.startswith((_HERE, _TORCH)):
        return False
    return not file.startswith(_PYTHON) or any(name in file for name in _PACKAGES)


class _Lines(TorchFunctionMode):
    """Marks every operation with the line that calls it and the module around it."""

    def __init__(self, paths: Mapping[int, str]) -> None:
        super().__init__()
        self.paths = paths

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with marks.annotate({_KEY: self._place()}):
            return func(*args, **(kwargs or {}))

    def _place(self) -> tuple[str, int, str, str]:
        """Return (file, line, function, path of the module)."""
        frame: Any = sys._getframe(2)
        line: tuple[str, int, str] | None = None
        path: str | None = None
        while frame is not None and (line is None or path is None):
            code = frame.f_code
            if line is None and is_own(code.co_filename):
                line = (code.co_filename, int(frame.f_lineno), code.co_name)
            if path is None and code.co_name == "_call_impl":
                path = self.paths.get(id(frame.f_locals.get("self")))
            frame = frame.f_back
        return (*(line or ("", 0, "")), path or "")


@contextlib.contextmanager
def marked(module: torch.nn.Module) -> Iterator[None]:
    """Mark the operations of what is exported inside, where this torch can keep marks."""
    if not hasattr(marks, "annotate"):
        yield
        return
    paths = {id(inner): path for path, inner in module.named_modules()}
    with marks.preserve_node_meta(), _Lines(paths):
        yield


def place_of(node: Any) -> tuple[str, int, str]:
    """Return (file, line, function) of a node; an empty file if it is not known."""
    mark = (node.meta.get("custom") or {}).get(_KEY)
    if mark is not None:
        return mark[0], mark[1], mark[2]
    frames = [match.groups() for match in _FRAME.finditer(node.meta.get("stack_trace") or "")]
    own = [f for f in frames if is_own(f[0])]
    return (own[-1][0], int(own[-1][1]), own[-1][2]) if own else ("", 0, "")


def where_of(node: Any) -> str:
    """Return the line of the user's code a node comes from, such as `net.py:12 (forward)`."""
    file, line, function = place_of(node)
    return f"{Path(file).name}:{line} ({function})" if file else "?"


def stem_of(node: Any) -> str:
    """Return a name for a node: the variable its line assigns, or its operation's."""
    file, line, _ = place_of(node)
    match = _ASSIGNED.match(linecache.getline(file, line)) if file else None
    return match.group(1) if match else str(node.name)


def module_of(node: Any) -> str:
    """Return the path of the module whose forward a node belongs to."""
    mark = (node.meta.get("custom") or {}).get(_KEY)
    if mark is not None:
        return str(mark[3])
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1].removeprefix("L['self']").strip(".") if paths else ""
