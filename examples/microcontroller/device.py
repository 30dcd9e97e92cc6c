"""A microcontroller in an emulator: links firmware that snnir wrote, loads it, and steps it.

It needs `ziglang` (a C compiler for every processor, as a wheel), `unicorn` (the emulator) and
`pyelftools`. Nothing of the firmware is known here but its interface, `snn.h`, and its ports.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import unicorn
from elftools.elf.elffile import ELFFile

Array = npt.NDArray[Any]

PROCESSORS = {
    "cortex-m4": ["-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4"],
    "cortex-m0": ["-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus"],
    "riscv32": ["-target", "riscv32-freestanding", "-mcpu=generic_rv32+m"],
}
_STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Os", "-g", "-ffreestanding"]
_SECTIONS = ["-Wl,--gc-sections", "-ffunction-sections", "-fdata-sections"]
_FLASH, _RAM, _STACK, _END = 0x0010_0000, 0x2000_0000, 0x2080_0000, 0x3000_0000

_MAIN = """
#include "snn.h"

snn_state state;
snn_work work;
{arrays}

__attribute__((noinline)) void demo_reset(void) {{ snn_reset(&state, 1, NULL); }}

__attribute__((noinline)) void demo_step(void)
{{
    snn_io io = {{{members}}};
    snn_step(&state, &io, &work);
}}

void _start(void)
{{
    for (demo_reset();;) demo_step();
}}
"""

_LAYOUT = f"""
SECTIONS {{
    . = {_FLASH};
    .text : {{ *(.text*) *(.rodata*) *(.srodata*) }}
    .ARM.exidx : {{ *(.ARM.exidx*) }}
    . = {_RAM};
    .data : {{ *(.data*) *(.bss*) *(.sdata*) *(.sbss*) *(COMMON) }}
}}
"""


class Device:
    """A processor with a program in it.

    Attributes:
        code: Bytes of flash: program and weights.
        memory: Bytes of RAM: states, work, and one array for each input and output.
        symbols: Address of every function and variable.
    """

    def __init__(self, folder: Path, firmware: Any, processor: str) -> None:
        """Link the firmware in a folder and load it.

        Args:
            folder: Where `firmware` was saved; the linked program is written there, too.
            firmware: Of `snnir.compile(graph, "native", profile="embedded")`.
            processor: One of `PROCESSORS`.

        Raises:
            RuntimeError: If the compiler refuses the program; with its message.
        """
        self.facts, self._arm = firmware.facts, processor.startswith("cortex")
        with self._link(folder, processor).open("rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            self.symbols = {s.name: s["st_value"] for s in table.iter_symbols()}
            segments = [
                (s["p_vaddr"], s.data(), s["p_memsz"]) for s in elf.iter_segments("PT_LOAD")
            ]
        self.code = sum(len(data) for at, data, _ in segments if at < _RAM)
        self.memory = sum(size for at, _, size in segments if at >= _RAM)
        kind = (
            (unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
            if self._arm
            else (unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        )
        self._cpu = unicorn.Uc(*kind)
        for at in (_FLASH, _RAM):
            self._cpu.mem_map(at, 0x0100_0000)
        self._cpu.mem_map(_END, 0x1000)
        for at, data, _ in segments:
            self._cpu.mem_write(at, data)

    def _link(self, folder: Path, processor: str) -> Path:
        """Link with a main program that has one array for each input and output."""
        ports = [(f"in{k}", p) for k, p in enumerate(self.facts.inputs)]
        ports += [(f"out{k}", p) for k, p in enumerate(self.facts.outputs)]
        arrays = "\n".join(
            f"{port.ctype} demo_{name}[{int(np.prod(port.shape))}];" for name, port in ports
        )
        members = ", ".join(f"demo_{name}" for name, _ in ports)
        (folder / "demo.c").write_text(_MAIN.format(arrays=arrays, members=members))
        (folder / "demo.ld").write_text(_LAYOUT)
        command = [sys.executable, "-m", "ziglang", "cc", *PROCESSORS[processor], *_STRICT]
        command += ["snn.c", "demo.c", "-o", "demo.elf", "-Wl,-T,demo.ld", "-Wl,-e,_start"]
        done = subprocess.run(
            command + _SECTIONS, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"the compiler refuses the firmware:\n{done.stderr}")
        return folder / "demo.elf"

    def _call(self, name: str) -> None:
        """Run a function to its end."""
        registers = unicorn.arm_const if self._arm else unicorn.riscv_const
        stack, back = (
            (registers.UC_ARM_REG_SP, registers.UC_ARM_REG_LR)
            if self._arm
            else (registers.UC_RISCV_REG_SP, registers.UC_RISCV_REG_RA)
        )
        self._cpu.reg_write(stack, _STACK)
        self._cpu.reg_write(back, _END | self._arm)
        self._cpu.emu_start(self.symbols[name] | self._arm, _END)

    def run(self, x: Mapping[str, Array]) -> list[Array]:
        """Run one sample from rest.

        Args:
            x: By input name, [T, 1, *shape]; whole numbers.

        Returns:
            Every output, [T, 1, *shape], in real numbers.
        """
        self._call("demo_reset")
        steps = len(next(iter(x.values())))
        made: list[list[Array]] = [[] for _ in self.facts.outputs]
        for t in range(steps):
            for k, port in enumerate(self.facts.inputs):
                data = np.ascontiguousarray(x[port.name][t, 0], _dtype(port)).tobytes()
                self._cpu.mem_write(self.symbols[f"demo_in{k}"], data)
            self._call("demo_step")
            for k, port in enumerate(self.facts.outputs):
                size = int(np.prod(port.shape)) * _dtype(port).itemsize
                raw = bytes(self._cpu.mem_read(self.symbols[f"demo_out{k}"], size))
                made[k].append(np.frombuffer(raw, _dtype(port)).reshape(1, *port.shape))
        return [
            port.real(np.stack(y), np.float32)
            for port, y in zip(self.facts.outputs, made, strict=True)
        ]

    def instructions(self, x: Mapping[str, Array]) -> int:
        """Return how many instructions a run takes; arguments as for `run`."""
        found = 0

        def count(*_: Any) -> None:
            nonlocal found
            found += 1

        hook = self._cpu.hook_add(unicorn.UC_HOOK_CODE, count)
        self._cpu.ctl_flush_tb()  # what has run before was translated without the hook
        try:
            self.run(x)
        finally:
            self._cpu.hook_del(hook)
        return found


def _dtype(port: Any) -> np.dtype[Any]:
    """Return the type of a port's C array, such as `int8_t`, for NumPy."""
    kind: np.dtype[Any] = np.dtype(str(port.ctype).removesuffix("_t"))
    return kind
