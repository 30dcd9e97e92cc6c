"""Compiling a host program and its codelets for this machine, once per content.

The program is the one that is meant for Poplar; the stand-in's files lie beside it. This module
depends on the standard library alone and is copied into emitted folders.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snnir.c_build import NoCompiler, cache_folder, cpp_compiler
from snnir.targets.ipu.standin.registry import registration

#: The stand-in, as it lies in a folder.
STANDIN_FILES = (
    "poplar_standin.hpp", "vertex_standin.hpp", "machine_standin.hpp", "checks_standin.hpp",
    "copies_standin.hpp", "memory_standin.hpp", "executor_standin.hpp", "report_standin.hpp",
    "poplar_standin.cpp", "tensors_standin.cpp",
)  # fmt: skip

#: What a program may include of Poplar, and what stands for it.
POPLAR_HEADERS = {
    **dict.fromkeys(
        (
            "CSRFunctions", "DataStream", "Device", "DeviceManager", "Engine", "Graph",
            "OptionFlags", "Program", "Target", "TargetType", "Tensor", "Type",
            "replication_factor",
        ),
        "poplar_standin.hpp",
    ),
    **dict.fromkeys(("HalfFloat", "Vertex"), "vertex_standin.hpp"),
}  # fmt: skip

#: Sums and products are rounded one by one, as everywhere in this project.
CPP_FLAGS = ("-std=c++17", "-ffp-contract=off")


@dataclass(frozen=True)
class CppUnit:
    """A file to compile.

    Attributes:
        name: Of the file, for the compiler's messages.
        text: What it says.
        files: What it may include, by name.
        flags: For the compiler.
    """

    name: str
    text: str
    files: Mapping[str, str]
    flags: tuple[str, ...]

    def key(self, command: Sequence[str]) -> str:
        """Return what names the compiled unit: everything it depends on."""
        parts = [*command, *CPP_FLAGS, *self.flags, self.name, self.text]
        for name in sorted(self.files):
            parts += [name, self.files[name]]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def build_host(folder: Path, checked: bool = True) -> Path:
    """Compile the program of a folder against the stand-in and return the executable.

    Args:
        folder: With `host.cpp`, `codelets.cpp`, the stand-in's files, and what else the host
            program is made of.
        checked: Whether codelets check every index into their fields.

    Raises:
        NoCompiler: If there is no C++ compiler, or it does not compile the program.
        UnknownCodelet: If a codelet is of no form that is known.
        OSError: If a file is missing.
    """
    command, cache = cpp_compiler(), cache_folder()
    units = _host_units(folder, checked)
    objects = [cache / f"{unit.key(command)}.o" for unit in units]
    key = "\0".join([*command, *(path.name for path in objects)]).encode()
    program = cache / f"{hashlib.sha256(key).hexdigest()[:32]}.exe"
    if not program.is_file():
        missing = [(u, path) for u, path in zip(units, objects, strict=True) if not path.is_file()]
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _compile_units(command, missing, Path(scratch))
            made = Path(scratch, "program")
            _finish(_start([*command, *map(str, objects), "-o", str(made)]), "link the program")
            os.replace(made, program)
    return program


def _host_units(folder: Path, checked: bool) -> list[CppUnit]:
    """Return what the program of a folder is made of."""
    headers = {
        path.name: path.read_text(encoding="utf-8")
        for pattern in ("*.h", "*.hpp")
        for path in sorted(folder.glob(pattern))
    }
    standin = {name: (folder / name).read_text(encoding="utf-8") for name in STANDIN_FILES}
    own = {name: text for name, text in standin.items() if name.endswith(".hpp")}
    host, codelets = (
        (folder / name).read_text(encoding="utf-8") for name in ("host.cpp", "codelets.cpp")
    )
    known_files = {*STANDIN_FILES, "host.cpp", "codelets.cpp"}
    others = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(folder.glob("*.cpp"))
        if path.name not in known_files
    }
    checks = ("-DSNNIR_CHECKED",) if checked else ()
    known = registration(codelets)
    return [
        *(
            CppUnit(name, text, own, ("-O2",))
            for name, text in standin.items()
            if name.endswith(".cpp")
        ),
        CppUnit("registry.cpp", known, {**headers, "codelets.cpp": codelets}, ("-O2", *checks)),
        CppUnit("host.cpp", host, headers, ("-O0",)),
        *(CppUnit(name, text, headers, ("-O1",)) for name, text in others.items()),
    ]


def _compile_units(
    command: Sequence[str], units: Sequence[tuple[CppUnit, Path]], scratch: Path
) -> None:
    """Compile all units at once, each in a folder with what it may include."""
    running = []
    for number, (unit, path) in enumerate(units):
        place = scratch / str(number)
        (place / "poplar").mkdir(parents=True)
        for name, stand_in in POPLAR_HEADERS.items():
            (place / "poplar" / f"{name}.hpp").write_text(
                f'#include "../{stand_in}"\n', encoding="utf-8"
            )
        for name, text in {**unit.files, unit.name: unit.text}.items():
            (place / name).write_text(text, encoding="utf-8")
        made = place / "made.o"
        line = [*command, *CPP_FLAGS, *unit.flags, f"-I{place}", "-c", str(place / unit.name)]
        running.append((_start([*line, "-o", str(made)]), unit, made, path))
    try:
        for process, unit, made, path in running:
            _finish(process, f"compile {unit.name}")
            os.replace(made, path)
    finally:
        for process, *_ in running:
            if process.returncode is None:  # another one failed
                process.kill()
                process.communicate()


def _start(line: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str], what: str) -> None:
    """Wait for a compiler.

    Raises:
        NoCompiler: If it failed.
    """
    _, said = process.communicate()
    if process.returncode:
        lines = [line for line in said.splitlines() if "error" in line] or said.splitlines()
        raise NoCompiler(f"the C++ compiler does not {what}: {' | '.join(lines[:3])[:500]}")
