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
    chips = [f"samna.{chip}" for chip in ("speck2b", "speck2e", "speck2f", "dynapcnn")]
    names = ["samna", *chips, *(f"{chip}.configuration" for chip in chips), "samna.ui", "samnagui"]
    for name in names:
        module = Module(name)
        module.__path__ = []
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
