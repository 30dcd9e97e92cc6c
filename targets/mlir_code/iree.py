"""Compiling a module with IREE."""

from __future__ import annotations

from collections.abc import Sequence

#: What every back end is told. Without it IREE computes float64 in float32.
FLAGS = ("--iree-input-demote-f64-to-f32=false", "--iree-input-demote-i64-to-i32=false")
#: The runtime's driver by back end.
DRIVERS = {
    "llvm-cpu": "local-sync", "vmvx": "local-sync", "cuda": "cuda", "rocm": "hip",
    "vulkan-spirv": "vulkan", "metal-spirv": "metal",
}  # fmt: skip
#: The driver of several threads, whose waking takes longer than many a small operation.
CPU, THREADED = "llvm-cpu", "local-task"
#: How a module begins that is an archive, as all are unless a flag says otherwise.
ARCHIVE = b"PK"


class NotCompiled(Exception):
    """IREE is not there, or refuses the module or an option."""


def compiled(text: str, backend: str, cpu: str, features: str, further: Sequence[str]) -> bytes:
    """Return a module compiled by IREE.

    Args:
        text: The module.
        backend: One of `DRIVERS`.
        cpu: Name of the processor, for `llvm-cpu`.
        features: Its features, such as `+avx2,+fma`.
        further: More flags of `iree-compile`.

    Raises:
        NotCompiled: With the first error as its text.
    """
    try:
        import iree.compiler
    except ImportError as missing:
        raise NotCompiled(f"needs iree-base-compiler ({missing})") from None
    flags = [*FLAGS, *further]
    if backend == CPU:
        flags.append(f"--iree-llvmcpu-target-cpu={cpu}")
        flags += [f"--iree-llvmcpu-target-cpu-features={features}"] if features else []
    try:
        made: bytes = iree.compiler.compile_str(text, target_backends=[backend], extra_args=flags)
    except iree.compiler.CompilerToolError as failure:
        raise NotCompiled(first_error(str(failure))) from None
    if not made.startswith(ARCHIVE) and made[8:12] != b"IREE":
        raise NotCompiled("a flag of iree-compile makes something other than a module")
    return made


def first_error(text: str) -> str:
    """Return the line of a failure of IREE's tools that says what is wrong."""
    said = text.partition("Diagnostics:")[2] or text
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if "error:" in line:
            return line
    if any(line.startswith("Stack dump") for line in lines):
        return "iree-compile crashed"
    return lines[0] if lines else "no message"
