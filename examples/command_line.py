"""What the examples' command lines share: checked arguments, progress, one line for a refusal."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def positive(text: str) -> int:
    """Return a number of at least one, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def seed(text: str) -> int:
    """Return a seed that every library takes, for argparse."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be from 0 to 2**32 - 1, got {value}")
    return value


def graph_file(text: str) -> Path:
    """Return a file that a graph can be written to, for argparse, before the work is done."""
    path = Path(text)
    if path.suffix != ".snnir":
        raise argparse.ArgumentTypeError(f"call it FILE.snnir, not '{path.name}'")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder '{path.parent}'")
    return path


def finish(main: Callable[[], int | None]) -> NoReturn:
    """Run a script and exit; what is refused or not installed is told in one line."""
    from snnir import SnnirError, show_progress

    try:
        with show_progress():
            code = main()
        raise SystemExit(code)
    except SnnirError as problem:
        raise SystemExit(str(problem)) from None
    except ModuleNotFoundError as missing:
        raise SystemExit(f"this example needs {missing.name}: pip install it") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
