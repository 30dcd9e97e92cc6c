"""Many virtual chips; copied into emitted folders."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from snnir.targets.bss2.emulation.conditions import Conditions
from snnir.targets.bss2.emulation.emulator import Model


def progress_line(done: int, total: int, began: float) -> None:
    """Draw a bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        return
    full = 30 * done // total
    spent = time.monotonic() - began
    left = f"{spent / done * (total - done):.0f} s left" if done < total else f"{spent:.1f} s\n"
    print(f"\r[{'#' * full}{'.' * (30 - full)}] {done}/{total} chips, {left:<12}",
          end="", file=sys.stderr, flush=True)  # fmt: skip


def monte_carlo(
    model: Model, inputs: Mapping[str, Any], chips: int, how: Conditions | None = None, *,
    record: Sequence[str] = (),
    reduce: Callable[[dict[str, Any], dict[str, Any], dict[str, float]], Any] | None = None,
    progress: bool = False,
) -> list[Any]:  # fmt: skip
    """Run the same inputs on several virtual chips.

    Args:
        model: The configuration.
        inputs: See `Model.run`.
        chips: How many; chip k is that of seed `how.seed + k`, and its noise that of
            `how.noise_seed + k`.
        how: Conditions of all; the mode is `mismatch`.
        record: See `Model.run`.
        reduce: Makes of the three results of `Model.run` what is kept; by default all is.
        progress: Whether to draw a bar on stderr, if that is a terminal.

    Returns:
        What is kept, by chip.
    """
    how = replace(how or Conditions(), mode="mismatch")
    kept, began = [], time.monotonic()
    for k in range(chips):
        noise = None if how.noise_seed is None else how.noise_seed + k
        found = model.run(inputs, record, replace(how, seed=how.seed + k, noise_seed=noise))
        kept.append(reduce(*found) if reduce else found)
        if progress:
            progress_line(k + 1, chips, began)
    return kept
