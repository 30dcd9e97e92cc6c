"""The scripts of an emitted folder that drive a chip with the vendor's software."""

from __future__ import annotations

from snnir import folder_program
from snnir.embedding import folder_source
from snnir.targets.bss2 import pynn_gain, pynn_network, run_pynn, script_io


def pynn_source() -> str:
    """Return the text of `run_pynn.py`."""
    return folder_source(run_pynn, (folder_program, script_io, pynn_network, pynn_gain))
