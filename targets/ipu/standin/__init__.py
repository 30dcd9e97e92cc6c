"""Our own stand-in for the part of Poplar that generated programs use: a machine, checked.

The C++ files and the modules of this folder go into emitted folders, where `build.build_host`
compiles the very `host.cpp` and `codelets.cpp` that are meant for Poplar.
"""

from __future__ import annotations

from pathlib import Path

from snnir.targets.ipu.standin.build import STANDIN_FILES


def standin_files() -> dict[str, str]:
    """Return the C++ files of the stand-in by name, for an emitted folder."""
    here = Path(__file__).parent
    return {name: (here / name).read_text(encoding="utf-8") for name in STANDIN_FILES}
