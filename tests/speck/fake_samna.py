"""A stand-in for the vendor's library, so that Sinabs' mapper runs: it takes any attribute."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class Record:
    """An object whose fields appear when they are read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = [Record() for _ in range(9)] if name == "cnn_layers" else Record()
        if name == "destinations":
            made = [Record(), Record()]
        setattr(self, name, made)
        return made

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Record()


class Module(ModuleType):
    """A module with every attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Configuration if name.endswith("Configuration") else Record()


class Configuration(Record):
    """The configuration of a chip."""


def install() -> None:
    """Make `import samna` find the stand-in; never where the real one is."""
    for name in (
        "samna", "samna.speck2b", "samna.speck2b.configuration", "samna.speck2f", "samna.speck2f.configuration", "samna.speck2e",
        "samna.speck2e.configuration", "samna.speck2cMini", "samna.speck2cMini.configuration",
        "samna.dynapcnn", "samna.dynapcnn.configuration", "samna.ui", "samna.event", "samna.graph",
        "samnagui",
    ):  # fmt: skip
        module = Module(name)
        module.__path__ = []
        sys.modules[name] = module
    for name, module in list(sys.modules.items()):
        parent, _, child = name.rpartition(".")
        if parent.startswith("samna") and isinstance(module, Module):
            setattr(sys.modules[parent], child, module)
