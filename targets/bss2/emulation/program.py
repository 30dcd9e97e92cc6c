"""The program of an emitted folder, as text."""

from __future__ import annotations

from functools import cache

from snnir import c_build, folder_program
from snnir.embedding import folder_source
from snnir.targets.bss2 import chips
from snnir.targets.bss2.emulation import (
    circuits,
    command,
    conditions,
    config_reader,
    config_types,
    config_values,
    delivery,
    emulator,
    engine,
    engine_python,
    euler,
    monte_carlo,
    readout,
    schedule,
    variation,
)

#: What `model.py` is made of, in an order in which all that is used at once is there.
EMBEDDED = (
    c_build, chips, folder_program, config_types, config_values, config_reader, delivery, engine,
    circuits, engine_python, variation, conditions, schedule, readout, euler, emulator, monte_carlo,
)  # fmt: skip


@cache
def program_source() -> str:
    """Return the text of `model.py`, which needs `model.bss2.json` beside it and NumPy."""
    return folder_source(command, EMBEDDED)
