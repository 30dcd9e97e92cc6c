"""Firmware: cross-compiled, run in an emulator of the processor, compared step by step."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ziglang", reason="cross compiling needs ziglang")
unicorn = pytest.importorskip("unicorn", reason="emulation needs unicorn")
elffile = pytest.importorskip("elftools.elf.elffile", reason="reading firmware needs pyelftools")

import snnir
from snnir.ir import Graph, MaxPool2d
from snnir.targets.native.host import _DTYPES
from snnir.targets.native.sizes import sizes
from tests.corpora.test_corpus import READABLE
from tests.helpers import ROOT, cli, feed_forward, quiet_load, recurrent, spikes
from tests.native.test_conformance import pictures
from tests.passes.test_quantize import readout

TARGETS = {
    "cortex-m4": ["-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4"],
    "cortex-m0": ["-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus"],
    "riscv32": ["-target", "riscv32-freestanding", "-mcpu=generic_rv32+m"],
}
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Os", "-g", "-ffreestanding"]
FLASH, RAM, STACK, END = 0x0010_0000, 0x2000_0000, 0x2080_0000, 0x3000_0000

HARNESS = """
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

LAYOUT = """
SECTIONS {{
    . = {flash};
    .text : {{ *(.text*) *(.rodata*) *(.srodata*) }}
    .ARM.exidx : {{ *(.ARM.exidx*) }}
    . = {ram};
    .data : {{ *(.data*) *(.bss*) *(.sdata*) *(.sbss*) *(COMMON) }}
}}
"""


class Device:
    """A processor with a program in it."""

    def __init__(self, folder: Path, made: Any, target: str) -> None:
        self.facts, self.arm = made.facts, target.startswith("cortex")
        path = self.build(folder, target)
        with path.open("rb") as file:
            elf = elffile.ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            self.symbols = {s.name: s["st_value"] for s in table.iter_symbols()}
            self.called = {s.name for s in table.iter_symbols()}
            segments = [
                (s["p_vaddr"], s.data(), s["p_memsz"]) for s in elf.iter_segments("PT_LOAD")
            ]
        self.code = sum(len(data) for at, data, _ in segments if at < RAM)
        self.memory = sum(size for at, _, size in segments if at >= RAM)
        kind = (
            (unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
            if self.arm
            else (unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        )
        self.cpu = unicorn.Uc(*kind)
        for at in (FLASH, RAM):
            self.cpu.mem_map(at, 0x0100_0000)
        self.cpu.mem_map(END, 0x1000)
        for at, data, _ in segments:
            self.cpu.mem_write(at, data)

    def build(self, folder: Path, target: str) -> Path:
        """Link the program with a harness that has one array for each input and output."""
        ports = [(f"in{k}", p) for k, p in enumerate(self.facts.inputs)]
        ports += [(f"out{k}", p) for k, p in enumerate(self.facts.outputs)]
        arrays = "\n".join(
            f"{port.ctype} demo_{name}[{int(np.prod(port.shape))}];" for name, port in ports
        )
        members = ", ".join(f"demo_{name}" for name, _ in ports)
        (folder / "demo.c").write_text(HARNESS.format(arrays=arrays, members=members))
        (folder / "demo.ld").write_text(LAYOUT.format(flash=FLASH, ram=RAM))
        command = [sys.executable, "-m", "ziglang", "cc", *TARGETS[target], *STRICT, "snn.c", "demo.c",
                   "-o", "demo.elf", "-Wl,-T,demo.ld", "-Wl,-e,_start", "-Wl,--gc-sections",
                   "-ffunction-sections", "-fdata-sections"]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return folder / "demo.elf"

    def call(self, name: str) -> None:
        """Run a function to its end."""
        registers = unicorn.arm_const if self.arm else unicorn.riscv_const
        stack, back = (
            (registers.UC_ARM_REG_SP, registers.UC_ARM_REG_LR)
            if self.arm
            else (registers.UC_RISCV_REG_SP, registers.UC_RISCV_REG_RA)
        )
        self.cpu.reg_write(stack, STACK)
        self.cpu.reg_write(back, END | self.arm)
        self.cpu.emu_start(self.symbols[name] | self.arm, END)

    def run(self, x: dict[str, Any]) -> list[Any]:
        """Step through inputs [T, 1, *shape]; return the outputs."""
        self.call("demo_reset")
        steps = len(next(iter(x.values())))
        made: list[list[Any]] = [[] for _ in self.facts.outputs]
        for t in range(steps):
            for k, port in enumerate(self.facts.inputs):
                data = np.ascontiguousarray(x[port.name][t, 0], _DTYPES[port.ctype]).tobytes()
                self.cpu.mem_write(self.symbols[f"demo_in{k}"], data)
            self.call("demo_step")
            for k, port in enumerate(self.facts.outputs):
                kind = np.dtype(_DTYPES[port.ctype])
                size = int(np.prod(port.shape)) * kind.itemsize
                raw = bytes(self.cpu.mem_read(self.symbols[f"demo_out{k}"], size))
                made[k].append(np.frombuffer(raw, kind).reshape(1, *port.shape))
        return [
            port.real(np.stack(y), np.float32)
            for port, y in zip(self.facts.outputs, made, strict=True)
        ]


def digits() -> Graph:
    return snnir.load(ROOT / "examples" / "digits" / "digits.nir").apply("discretize")


MODELS: dict[str, tuple[Any, str]] = {
    "feed forward": (feed_forward, "quantize"),
    "recurrent": (recurrent, "quantize{bits=4,state-bits=12,factor-bits=10}"),
    "pictures": (lambda: pictures(MaxPool2d((2, 2), (2, 2))), "quantize{shifts}"),
    "readout": (readout, "quantize{zero-point,state-bits=24,bits=16}"),
    "sparse": (readout, "quantize,sparsify{density=1}"),
    "digits": (digits, "quantize"),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_firmware_gives_the_references_spikes(name: str, target: str, tmp_path: Path) -> None:
    build, passes = MODELS[name]
    graph = build().apply(passes)
    made: Any = snnir.compile(graph, "native", level=0, profile="embedded")
    device = Device(made.save(tmp_path / "out"), made, target)
    x = {n: spikes((40, 1, *s.shape), 0.4) for n, s in graph.inputs.items()}
    want = snnir.compile(graph, level=0).run(x).outputs
    assert all(y.any() for y in want.values())
    for y, found in zip(want.values(), device.run(x), strict=True):
        np.testing.assert_array_equal(found, y)
    floats = [
        n for n in device.called if n.startswith(("__aeabi_f", "__aeabi_d", "__addsf", "__muldf"))
    ]
    assert not floats
    assert not device.called & {"malloc", "free", "printf", "expf", "exp"}
    # What the sizes promise is what the linker finds, but for code and pointers.
    counted = sizes(made.program)
    assert sum(size.flash for size in counted) < device.code
    ports = sum(p.ctype and int(np.prod(p.shape)) * np.dtype(_DTYPES[p.ctype]).itemsize
                for p in (*made.facts.inputs, *made.facts.outputs))  # fmt: skip
    assert 0 <= device.memory - ports - sum(size.ram for size in counted) < 800


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("path", [p for p in READABLE if "braille" in p.name], ids=lambda p: p.name)
def test_published_models(path: Path, target: str, tmp_path: Path) -> None:
    """Networks that read Braille, at 8 bits."""
    loaded = quiet_load(path, semantics="snntorch", repair=True)
    graph = loaded.apply("discretize,declare-inputs,fold-batchnorm,fuse-linear,quantize")
    made: Any = snnir.compile(graph, "native", level=0, profile="embedded")
    device = Device(made.save(tmp_path / "out"), made, target)
    x = {n: spikes((256, 1, *s.shape), 0.2) for n, s in graph.inputs.items()}
    want = snnir.compile(graph, level=0).run(x)
    assert all(each["spikes"] for each in want.stats.values())
    for y, found in zip(want.outputs.values(), device.run(x), strict=True):
        np.testing.assert_array_equal(found, y)
    assert device.code < 12_000
    assert device.memory < 2_000


def test_real_numbers_are_refused_by_name() -> None:
    with pytest.raises(
        snnir.SnnirError, match=r"node 'fc': computes with real numbers; run the pass quantize"
    ):
        snnir.compile(feed_forward(), "native", profile="embedded")
    analog = snnir.load(ROOT / "examples" / "digits" / "digits.nir")
    with pytest.raises(snnir.SnnirError, match="computes with real numbers"):
        snnir.compile(analog, "native", profile="embedded")


def test_what_does_not_fit_is_listed_layer_by_layer(tmp_path: Path) -> None:
    snnir.save(readout().apply("quantize"), tmp_path / "m.snnir")
    done = cli("compile", tmp_path / "m.snnir", "--target", "native", "-O0", "-o", tmp_path / "out",
               "--set", "profile=embedded", "--set", "flash=1K", "--set", "ram=512")  # fmt: skip
    assert done.returncode == 1
    assert "SNN504" in done.stderr
    assert "bytes of flash, the device has 1,024: conv 936, lif 64" in done.stderr
    assert "bytes of ram, the device has 512: conv 384" in done.stderr
    assert not (tmp_path / "out").exists()
    made = cli("compile", tmp_path / "m.snnir", "--target", "native", "-O0", "-o", tmp_path / "out",
               "--set", "profile=embedded", "--set", "flash=2K", "--set", "ram=1M")  # fmt: skip
    assert made.returncode == 0, made.stderr
    header = (tmp_path / "out" / "snn.h").read_text()
    assert re.search(r" \*   conv +936 +384\n", header)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"profile": "chip"}, "use one of host, embedded"), ({"flash": "64KB"}, "use bytes, or as 64K"),
     ({"ram": "-1"}, "use bytes, or as 64K")],
)  # fmt: skip
def test_wrong_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(snnir.SnnirError, match=words):
        snnir.compile(readout().apply("quantize"), "native", level=0, **options)


def test_the_same_source_runs_on_the_host(tmp_path: Path) -> None:
    graph = readout().apply("quantize")
    made = snnir.compile(graph, "native", level=0, profile="embedded")
    made.save(tmp_path / "out")
    x = spikes((30, 3, 2, 6, 6), 0.4)
    names = list(snnir.populations(graph))
    want = snnir.compile(graph, level=0).run(x, names)
    for got in (made.run(x, names), snnir.run(tmp_path / "out", x, names)):
        for name, y in {**want.recorded, **want.outputs}.items():
            np.testing.assert_array_equal({**got.recorded, **got.outputs}[name], y)
        assert got.stats == want.stats
