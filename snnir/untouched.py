"""Running a live torch module and leaving it as it was."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_CONTAINERS = (dict, list, set)


@contextmanager
def untouched(net: Any) -> Iterator[None]:
    """Put back every attribute, buffer and memory of every module, and the random state.

    Parameters are not copied; a model that changes them while it runs is not a network to import.

    Args:
        net: A `torch.nn.Module`.
    """
    import torch

    saved = [(module, _snapshot(module)) for module in net.modules()]
    numpy_state, python_state = np.random.get_state(), random.getstate()
    grad = torch.is_grad_enabled()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            for module, snapshot in saved:
                _restore(module, snapshot)
            np.random.set_state(numpy_state)
            random.setstate(python_state)
            torch.set_grad_enabled(grad)


def _snapshot(module: Any) -> dict[str, Any]:
    """Return a module's attributes, containers copied one level deep, buffers by value."""
    found = {
        name: (value, copy.copy(value) if isinstance(value, _CONTAINERS) else None)
        for name, value in vars(module).items()
    }
    buffers = {name: (b, None if b is None else b.clone()) for name, b in module._buffers.items()}
    return {"attributes": found, "buffers": buffers}


def _restore(module: Any, snapshot: dict[str, Any]) -> None:
    import torch

    attributes = vars(module)
    for name in list(attributes):
        if name not in snapshot["attributes"]:
            del attributes[name]
    for name, (value, content) in snapshot["attributes"].items():
        attributes[name] = value
        if isinstance(value, dict):
            value.clear()
            value.update(content)
        elif isinstance(value, list):
            value[:] = content
        elif isinstance(value, set):
            value.clear()
            value.update(content)
    with torch.no_grad():
        for buffer, content in snapshot["buffers"].values():
            if buffer is not None and not torch.equal(buffer, content):
                buffer.data = content
