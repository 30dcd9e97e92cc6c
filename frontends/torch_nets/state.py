"""Bringing a model's neurons to rest."""

from __future__ import annotations

from typing import Any


def rest(net: Any) -> None:
    """Bring the neurons to the state before the first step, by each framework's own means."""
    for module in net.modules():
        for name in ("reset_mem", "reset_states", "reset"):
            method = getattr(module, name, None)
            home = type(module).__mro__
            known = any(c.__module__.split(".")[0] in _KNOWN for c in home)
            if callable(method) and known:
                method()
                break


_KNOWN = ("snntorch", "sinabs", "spikingjelly", "norse")
