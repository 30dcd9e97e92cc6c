"""Identifiers and literals of generated Python."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

#: What a name in `Net` must not hide: attributes of `torch.nn.Module`, and locals of `forward`.
RESERVED = {
    "self", "x", "t", "time", "steps", "batch", "outputs", "torch", "nn", "F", "super", "forward",
    "train", "eval", "training", "parameters", "buffers", "modules", "children", "apply", "half",
    "float", "double", "to", "cpu", "cuda", "type", "state_dict", "register_buffer", "dump_patches",
    "compile", "share_memory", "requires_grad_", "zero_grad", "extra_repr", "add_module",
    "bfloat16", "named_parameters", "named_buffers", "named_modules", "named_children",
    "load_state_dict",
    "call_super_init", "get_submodule", "get_parameter", "get_buffer", "register_module",
    "set_extra_state", "get_extra_state", "ipu", "xpu", "mtia", "to_empty", "snn", "sl", "neuron",
    "base", "norse", "functional", "layer", "json",
}  # fmt: skip


class Names:
    """Unique identifiers for node names."""

    def __init__(self) -> None:
        self._taken: set[str] = set(RESERVED)
        self._of: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the identifier of a node."""
        if name not in self._of:
            self._of[name] = self.fresh(name)
        return self._of[name]

    def fresh(self, stem: str) -> str:
        """Return an identifier that reminds of a stem and is not taken."""
        found = re.sub(r"[^A-Za-z0-9]+", "_", stem)[:40].strip("_") or "node"
        if not found[0].isalpha():
            found = f"layer{found}"
        if keyword.iskeyword(found) or found in vars(builtins):
            found += "_"
        number, unique = 1, found
        while unique in self._taken:
            number += 1
            unique = f"{found}_{number}"
        self._taken.add(unique)
        return unique


def number(value: Any) -> str:
    """Return a float32 as the shortest literal that torch rounds back to it."""
    data = np.float32(value)
    if not np.isfinite(data):
        return f'float("{data}")'
    text = str(data)
    return text if any(c in text for c in ".en") else f"{text}.0"


def literal(value: Any) -> str:
    """Return plain data as Python source, in ASCII."""
    return ascii(value)


def comment(text: str) -> str:
    """Return an untrusted text for a comment or docstring line."""
    return ascii(text)[1:-1][:80].replace("\\", "/").replace('"', "'")


def indented(lines: Iterable[str], by: int = 1) -> list[str]:
    """Return lines moved right."""
    return [("    " * by + line) if line else "" for line in lines]
