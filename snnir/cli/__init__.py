"""The command line: `snnir compile|run|convert|inspect|opt|check|diff|explain|list|doctor|…`."""

from __future__ import annotations

from snnir.cli.app import main

__all__ = ["main"]
