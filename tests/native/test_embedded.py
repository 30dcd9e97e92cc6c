"""Firmware: cross-compiled, run in an emulator of the processor, compared step by step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ziglang", reason="cross compiling needs ziglang")
pytest.importorskip("unicorn", reason="emulation needs unicorn")
pytest.importorskip("elftools.elf.elffile", reason="reading firmware needs pyelftools")

import snnir
from examples.microcontroller.device import PROCESSORS, Device
from snnir.ir import Graph, MaxPool2d
from snnir.targets.native.host import _DTYPES
from snnir.targets.native.sizes import sizes
from tests.corpora.test_corpus import READABLE
from tests.helpers import ROOT, cli, feed_forward, quiet_load, recurrent, spikes
from tests.native.test_conformance import pictures
from tests.passes.test_quantize import readout


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


@pytest.mark.parametrize("target", PROCESSORS)
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
        n for n in device.symbols if n.startswith(("__aeabi_f", "__aeabi_d", "__addsf", "__muldf"))
    ]
    assert not floats
    assert not device.symbols.keys() & {"malloc", "free", "printf", "expf", "exp"}
    # What the sizes promise is what the linker finds, but for code and pointers.
    counted = sizes(made.program)
    assert sum(size.flash for size in counted) < device.code
    ports = sum(p.ctype and int(np.prod(p.shape)) * np.dtype(_DTYPES[p.ctype]).itemsize
                for p in (*made.facts.inputs, *made.facts.outputs))  # fmt: skip
    assert 0 <= device.memory - ports - sum(size.ram for size in counted) < 800


@pytest.mark.parametrize("target", PROCESSORS)
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


def test_the_header_says_how_long_a_step_is(tmp_path: Path) -> None:
    graph = readout().apply("quantize")
    for dt, words in {
        None: "The length of a step is not given.",
        1e-3: "One step is 0.001 s.",
    }.items():
        made = snnir.compile(graph.edit().graph(dt=dt), "native", level=0, profile="embedded")
        assert words in (made.save(tmp_path / f"{dt}") / "snn.h").read_text("utf-8")


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
