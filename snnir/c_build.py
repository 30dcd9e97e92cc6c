"""Building C source where there is a compiler, once per content.

This module depends on the standard library alone and is copied into emitted folders.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

#: Without -ffp-contract=off the compiler may fuse a product and a sum and round them once.
FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")

#: What makes code for this very processor; the first that the compiler knows is taken. Left alone,
#: compilers use half of the vectors of processors that have wide ones.
NATIVE = (
    ("-march=native", "-mprefer-vector-width=512"),
    ("-march=native",),
    ("-mcpu=native",),
    (),
)


class NoCompiler(RuntimeError):
    """There is no C compiler, or it does not compile the source."""


def compiler() -> list[str]:
    """Return the command of a C compiler: `$CC`, one on the path, or the ziglang wheel's.

    Raises:
        NoCompiler: If there is none.
    """
    return _compiler_of("C", "CC", ("cc", "gcc", "clang"), "cc")


def cpp_compiler() -> list[str]:
    """Return the command of a C++ compiler: `$CXX`, one on the path, or the ziglang wheel's.

    Raises:
        NoCompiler: If there is none.
    """
    return _compiler_of("C++", "CXX", ("c++", "g++", "clang++"), "c++")


def _compiler_of(language: str, variable: str, names: Sequence[str], zig: str) -> list[str]:
    wanted = os.environ.get(variable, "").split()
    if wanted and shutil.which(wanted[0]):
        return wanted
    for name in names:
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", zig]
    raise NoCompiler(f"no {language} compiler was found; install one, or `pip install ziglang`")


def machine() -> str:
    """Return what the compiled code depends on: it is built for this very processor."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    except OSError:
        flags = []
    return "\n".join([platform.machine(), platform.processor(), *sorted(set(flags))])


def cache_folder() -> pathlib.Path:
    """Return a folder that only this user can write, for compiled code."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(base) / "snnir" / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = folder.stat()
        own = not hasattr(os, "getuid") or facts.st_uid == os.getuid()
        if own and not facts.st_mode & 0o022 and os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return pathlib.Path(tempfile.mkdtemp(prefix="snnir-kernels-"))


def shared_library(source: str, flags: Sequence[str] = ()) -> pathlib.Path:
    """Return a shared library of C source; compiled once per source, compiler and processor.

    Raises:
        NoCompiler: If it cannot be compiled.
    """
    command = compiler()
    key = "\0".join([source, *command, *FLAGS, *NATIVE[0], *flags, machine()]).encode()
    path = cache_folder() / f"{hashlib.sha256(key).hexdigest()[:32]}.so"
    if not path.is_file():
        build(command, source, path, flags)
    return path


def build(
    command: Sequence[str], source: str, path: pathlib.Path, flags: Sequence[str] = ()
) -> None:
    """Compile aside and rename into place.

    Raises:
        NoCompiler: If it cannot be compiled.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        given, made = pathlib.Path(scratch, "kernels.c"), pathlib.Path(scratch, "kernels.so")
        given.write_text(source, encoding="utf-8")
        for native in NATIVE:
            line = [*command, *FLAGS, *flags, *native, "-o", str(made), str(given), "-lm"]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                os.replace(made, path)
                return
    raise NoCompiler(f"{command[0]} does not compile the kernels: {done.stderr.strip()[-500:]}")
