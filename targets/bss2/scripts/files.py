"""The scripts of an emitted folder that drive a chip with the vendor's software."""

from __future__ import annotations

import io
from typing import Any

from snnir import folder_program
from snnir.embedding import folder_source
from snnir.errors import Diagnostic
from snnir.targets.bss2.schema import schema_text
from snnir.targets.bss2.scripts import (
    hxtorch_network,
    pynn_gain,
    pynn_network,
    run_hxtorch,
    run_pynn,
    script_io,
)
from snnir.targets.bss2.scripts.hxtorch_nir import hxtorch_nir


def pynn_source() -> str:
    """Return the text of `run_pynn.py`."""
    return folder_source(run_pynn, (folder_program, script_io, pynn_network, pynn_gain))


def hxtorch_source() -> str:
    """Return the text of `run_hxtorch.py`."""
    return folder_source(run_hxtorch, (folder_program, script_io, hxtorch_network))


def script_files(hxtorch: bool = False) -> dict[str, bytes]:
    """Return what stands beside `model.bss2.json` whatever it holds, by file name.

    Args:
        hxtorch: With `run_hxtorch.py`.
    """
    files = {"schema.json": schema_text(), "run_pynn.py": pynn_source()}
    if hxtorch:
        files["run_hxtorch.py"] = hxtorch_source()
    return {name: text.encode() for name, text in files.items()}


def nir_problems(facts: dict[str, Any]) -> list[Diagnostic]:
    """Return why hxtorch cannot import a network from NIR, if it cannot."""
    found = hxtorch_nir(facts, hardware=False)
    hint = "its importer takes chains of homogeneous layers: --set scale=population may help"
    reasons = found if isinstance(found, list) else []
    return [Diagnostic("SNN501", f"hxtorch-nir: {reason}", hint=hint) for reason in reasons]


def nir_content(facts: dict[str, Any]) -> bytes:
    """Return the NIR file that hxtorch imports; there must be no `nir_problems`."""
    import nir

    file = io.BytesIO()
    nir.write(file, hxtorch_nir(facts, hardware=False))
    return file.getvalue()
