"""The text form and the file: golden texts, wrong texts, damaged files."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

import snnir
from snnir.ir import Conv2d, Flatten, Input, Linear, Signal, SumPool2d
from snnir.ir import parser as parser_module
from snnir.ir.file import TEXT, WEIGHTS, read_snnir, sniff, write_snnir
from snnir.ir.parser import parse_graph
from tests.helpers import continuous, dyadic, feed_forward, graph, recurrent
from tests.strategies import custom


def convolutional() -> snnir.Graph:
    nodes: dict[str, Any] = {
        "image": (Input(Signal(snnir.Kind.SPIKES, (2, 6, 6))), []),
        "conv": (Conv2d(snnir.tensor(dyadic((3, 2, 3, 3))), padding=((1, 1), (1, 1))), ["image"]),
        "pool": (SumPool2d((2, 2), (2, 2)), ["conv"]),
        "flat": (Flatten(), ["pool"]),
        "fc": (Linear(snnir.tensor(dyadic((2, 27)))), ["flat"]),
        "own": (custom(), ["fc"]),
    }
    return graph(nodes, "own", dt=1e-3, name="conv net")


GOLDEN: dict[str, Callable[[], snnir.Graph]] = {
    "feed_forward.snn": feed_forward,
    "recurrent.snn": recurrent,
    "convolutional.snn": convolutional,
    "continuous.snn": lambda: continuous(tau=0.01, r=1, v_leak=0, v_threshold=1),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_text(name: str, golden: Any) -> None:
    text = str(GOLDEN[name]().verify())
    golden(name, text)
    assert str(parse_graph(text)) == text


BODY = "snnir 1\ngraph @g(dt = 0.001) {{\n  %a = input() {{signal = analog<2xf32>}}\n{}\n}}\n"
WRONG = {
    "empty": ("", "SNN102", "expected 'snnir'"),
    "newer": ("snnir 99\n", "SNN108", "version 99"),
    "no graph": ("snnir 1\n", "SNN102", "expected 'graph'"),
    "unknown op": (BODY.format("  %b = liner(%a)\n  return {o = %b}"), "SNN106", "linear"),
    "undefined": (BODY.format("  return {o = %zz}"), "SNN201", "line 4"),
    "twice": (BODY.format("  %a = current(%a)\n  return {o = %a}"), "SNN201", "two nodes"),
    "attribute": (BODY.format("  %b = delay(%a) {step = 1}\n  return {o = %b}"), "SNN201", "'step'"),
    "missing": (BODY.format("  %b = scale(%a)\n  return {o = %b}"), "SNN201", "'scale'"),
    "type of value": (
        BODY.format('  %b = delay(%a) {steps = "x"}\n  return {o = %b}'), "SNN201", "cannot be 'x'",
    ),
    "weight as number": (
        BODY.format("  %b = linear(%a) {weight = 3}\n  return {o = %b}"), "SNN201", "cannot be 3",
    ),
    "stated type": (
        BODY.format("  %b = current(%a) : spikes<2xf32>\n  return {o = %b}"), "SNN202", "stated",
    ),
    "bad type": (BODY.format("  %b = current(%a) : spikes<2yf32>\n  return {o = %b}"), "SNN102",
                 "2yf32"),
    "character": (BODY.format("  %b = current(%a) ;\n  return {o = %b}"), "SNN102", "';'"),
    "end": (BODY.format("  return {o = %a}") + "x", "SNN102", "end of the text"),
    "nesting": (BODY.format("  %b = pad(%a) {widths = " + "[" * 90), "SNN107", "nested deeper"),
    "long number": (BODY.format("  %b = delay(%a) {steps = " + "9" * 500 + "}"), "SNN102", "length"),
    "program": (
        BODY.format("  %b = step(%a) {dynamics = @p}\n  return {o = %b}"), "SNN201", "@p",
    ),
    "lif": (
        BODY.format("  %b = step(%a) {dynamics = lif{resett = 1}}\n  return {o = %b}"), "SNN201",
        "resett",
    ),
    "header": ("snnir 1\ngraph @g(speed = 1) {\n", "SNN102", "record_offset"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_text_is_located(kind: str) -> None:
    text, code, part = WRONG[kind]
    with pytest.raises(snnir.SnnirError) as caught:
        parse_graph(text, source="m.snn")
    message = str(caught.value)
    assert f"[{code}]" in message
    assert part in message
    assert "\n" not in message


def test_a_delay_free_cycle_in_text_is_refused(tmp_path: Path) -> None:
    text = BODY.format("  %s = add(%a, %b)\n  %b = current(%s)\n  return {o = %b}")
    path = tmp_path / "loop.snn"
    path.write_text(text)
    with pytest.raises(snnir.SnnirError, match="SNN204.*without a delay"):
        snnir.load(path)


def test_unresolved_weights_are_named_when_needed() -> None:
    parsed = parse_graph(str(recurrent()))
    with pytest.raises(snnir.SnnirError, match="SNN205"):
        snnir.compile(parsed).run(np.zeros((2, 1, 3)))


def test_older_versions_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(feed_forward()).replace("snnir 1", "snnir 0").replace("graph @", "network @")
    with pytest.raises(snnir.SnnirError, match="SNN108"):
        parse_graph(text)
    upgrade = {0: lambda old: old.replace("snnir 0", "snnir 1").replace("network @", "graph @")}
    monkeypatch.setattr(parser_module, "MIGRATIONS", upgrade)
    assert str(parse_graph(text)) == str(feed_forward())


def big() -> snnir.Graph:
    nodes: dict[str, Any] = {"a": (Input(Signal(snnir.Kind.ANALOG, (40,))), [])}
    last = "a"
    for dtype in ("float32", "float16", "float64", "int8", "int16", "uint8", "bool"):
        weight = (dyadic((40, 40)) * 8).astype(dtype)
        nodes[dtype] = (Linear(snnir.Tensor(weight)), [last])
        last = dtype
    return graph(nodes, last)


def test_the_safetensors_library_reads_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.snnir"
    write_snnir(big(), path)
    with zipfile.ZipFile(path) as archive:
        found = load_safetensors(archive.read(WEIGHTS))
        offset = archive.getinfo(WEIGHTS).header_offset
    by_digest = {t.digest: t for t in big().tensors().values()}
    assert set(found) == set(by_digest)
    for digest, array in found.items():
        np.testing.assert_array_equal(array, by_digest[digest].numpy())
    assert offset > 0


def test_weights_are_mapped_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "m.snnir"
    write_snnir(big(), path)
    loaded = read_snnir(path)
    base: Any = loaded["float32"].op.tensors()["weight"].numpy()
    while getattr(base, "base", None) is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    start = np.memmap(path, np.uint8, "r")
    with zipfile.ZipFile(path) as archive:
        raw = archive.read(WEIGHTS)
    assert bytes(start).index(raw[:64]) % 64 == 0


def rewrite(path: Path, change: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries = change(entries)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def lying_header(entries: dict[str, bytes]) -> dict[str, bytes]:
    data = entries[WEIGHTS]
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    first = next(iter(header.values()))
    first["shape"] = [2**40, 2**40]
    text = json.dumps(header).encode()
    return {**entries, WEIGHTS: struct.pack("<Q", len(text)) + text + data[8 + length :]}


DAMAGE = {
    "extra entry": (lambda e: {**e, "../../evil": b"x"}, "exactly"),
    "no weights": (lambda e: {TEXT: e[TEXT]}, "exactly"),
    "text": (lambda e: {**e, TEXT: b"\xff\xfe"}, "UTF-8"),
    "cut": (lambda e: {**e, WEIGHTS: e[WEIGHTS][:-40]}, "weight"),
    "altered": (lambda e: {**e, WEIGHTS: e[WEIGHTS][:-1] + b"\x77"}, "altered"),
    "length": (lambda e: {**e, WEIGHTS: b"\xff" * 8 + e[WEIGHTS][8:]}, "header claims"),
    "lie": (lying_header, "needs"),
    "other weights": (lambda e: {**e, WEIGHTS: struct.pack("<Q", 2) + b"{}"}, "missing"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files_are_refused(kind: str, tmp_path: Path) -> None:
    change, part = DAMAGE[kind]
    path = tmp_path / "m.snnir"
    write_snnir(big(), path)
    rewrite(path, change)
    with pytest.raises(snnir.SnnirError) as caught:
        read_snnir(path)
    assert part in str(caught.value)
    assert "m.snnir" in str(caught.value)


NOT_MODELS = {
    "empty": (b"", "is empty"),
    "pickle": (b"\x80\x04\x95", "pickle"),
    "text": (b"hello", "neither HDF5"),
    "zip": (b"PK\x03\x04nonsense", "damaged archive"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
}


@pytest.mark.parametrize("kind", NOT_MODELS)
def test_what_is_no_model_is_told(kind: str, tmp_path: Path) -> None:
    data, part = NOT_MODELS[kind]
    path = tmp_path / "m.nir"
    path.write_bytes(data)
    with pytest.raises(snnir.SnnirError, match=part):
        sniff(path)


def test_torch_checkpoints_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "m.nir"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(snnir.SnnirError, match="never loaded"):
        snnir.load(path)
