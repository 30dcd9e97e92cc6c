"""The `.snnir` file and telling formats by content: mapping, damage, hostile archives."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

import snnir
from snnir.ir import Input, Linear, Scale, Signal
from snnir.ir.file import TEXT, WEIGHTS, read_snnir, sniff, write_snnir
from tests.helpers import dyadic, graph

DTYPES = (
    "float64", "float32", "float16", "int64", "int32", "int16", "int8",
    "uint64", "uint32", "uint16", "uint8", "bool",
)  # fmt: skip


def big() -> snnir.Graph:
    nodes: dict[str, Any] = {"a": (Input(Signal(snnir.Kind.ANALOG, (40,))), [])}
    last = "a"
    for dtype in DTYPES:
        weight = np.abs(dyadic((40, 40)) * 8).astype(dtype)
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
    "longer": (lambda e: {**e, WEIGHTS: e[WEIGHTS] + b"hidden"}, "belong to no weight"),
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
    "half a signature": (b"\x89HD", "cut off"),
    "half a word": (b"snn", "cut off"),
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


def single(weight: Any) -> snnir.Graph:
    source = Input(Signal(snnir.Kind.ANALOG, (weight.shape[1],)))
    return graph({"a": (source, []), "b": (Linear(snnir.Tensor(weight)), ["a"])}, "b")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.snnir"
    write_snnir(big(), path)
    return path


def refused(path: Path, code: str, part: str, **options: Any) -> None:
    with pytest.raises(snnir.SnnirError) as caught:
        read_snnir(path, **options)
    message = str(caught.value)
    assert f"[{code}]" in message
    assert part in message
    assert str(path) in message


def test_the_same_graph_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    write_snnir(big(), tmp_path / "again.snnir")
    assert (tmp_path / "again.snnir").read_bytes() == model.read_bytes()
    with zipfile.ZipFile(model) as archive:
        assert [entry.date_time[0] for entry in archive.infolist()] == [1980, 1980]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_weight_is_stored_once(tmp_path: Path) -> None:
    weight = snnir.Tensor(dyadic((9, 9)))
    nodes: dict[str, Any] = {"a": (Input(Signal(snnir.Kind.ANALOG, (9,))), [])}
    nodes |= {"b": (Linear(weight), ["a"]), "c": (Linear(snnir.Tensor(dyadic((9, 9)))), ["b"])}
    write_snnir(graph(nodes, "c"), tmp_path / "m.snnir")
    with zipfile.ZipFile(tmp_path / "m.snnir") as archive:
        assert list(load_safetensors(archive.read(WEIGHTS))) == [weight.digest]


def test_mapped_weights_are_aligned_and_read_only(tmp_path: Path) -> None:
    nodes: dict[str, Any] = {"a": (Input(Signal(snnir.Kind.ANALOG, (3,))), [])}
    last = "a"
    for seed in range(4):  # odd numbers of bytes before wider elements, whatever the digests
        for dtype in ("int8", "float64", "float16"):
            weight = (dyadic((3, 3), seed) * 64).astype(dtype)
            nodes[f"{dtype}{seed}"] = (Linear(snnir.Tensor(weight)), [last])
            last = f"{dtype}{seed}"
    whole = graph(nodes, last)
    write_snnir(whole, tmp_path / "m.snnir")
    loaded = read_snnir(tmp_path / "m.snnir")
    assert loaded == whole
    arrays = [value.numpy() for value in loaded.tensors().values()]
    assert len(arrays) == 12
    assert all(array.flags.aligned and not array.flags.writeable for array in arrays)


def test_large_weights_are_neither_copied_nor_kept(tmp_path: Path) -> None:
    weight = np.zeros((2000, 2000), np.float32)  # 16 MB
    whole = single(weight)
    tracemalloc.start()
    write_snnir(whole, tmp_path / "m.snnir")
    loaded = read_snnir(tmp_path / "m.snnir")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert loaded == whole
    assert peak < 2e6


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (3, 0)])
def test_small_and_empty_weights(shape: tuple[int, int], tmp_path: Path) -> None:
    whole = single(np.ones(shape, np.float64))
    write_snnir(whole, tmp_path / "m.snnir")
    assert read_snnir(tmp_path / "m.snnir") == whole


def test_a_graph_without_weights(tmp_path: Path) -> None:
    whole = graph({"a": (Input(Signal(snnir.Kind.ANALOG, (3,))), [])}, "a")
    write_snnir(whole, tmp_path / "m.snnir")
    assert read_snnir(tmp_path / "m.snnir") == whole


@pytest.mark.parametrize("shape", [(3,), (30,)])
def test_unresolved_weights_cannot_be_written(shape: tuple[int, ...], tmp_path: Path) -> None:
    nodes: dict[str, Any] = {
        "a": (Input(Signal(snnir.Kind.ANALOG, shape)), []),
        "b": (Scale(snnir.Tensor.unresolved("0" * 16, shape, "f32")), ["a"]),
    }
    path = tmp_path / "m.snnir"
    path.write_text("what was there")
    with pytest.raises(snnir.SnnirError, match="SNN205"):
        write_snnir(graph(nodes, "b"), path)
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_plain_text_is_read_with_unresolved_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.snn"
    path.write_text(str(big()))
    loaded = read_snnir(path)
    assert str(loaded) == str(big())
    assert not loaded["int8"].op.tensors()["weight"].is_resolved
    path.write_bytes(b"snnir 1\n\xff")
    refused(path, "SNN102", "UTF-8")
    path.write_text("snnir 9\n")
    refused(path, "SNN108", "version 9")


def test_altered_weights_are_found_unless_trusted(model: Path) -> None:
    with zipfile.ZipFile(model) as archive:
        entry = archive.getinfo(WEIGHTS)
        raw = archive.read(WEIGHTS)
    data = bytearray(model.read_bytes())
    data[data.index(raw) + entry.file_size - 1] ^= 1
    model.write_bytes(data)
    refused(model, "SNN102", "was altered")
    trusted = read_snnir(model, verify_digests=False)
    assert trusted != big()  # the digest that is asked for later is that of the data


def patched(path: Path, mark: bytes, nth: int, offset: int, data: bytes) -> None:
    """Overwrite bytes at an offset from the nth occurrence of a mark."""
    content = bytearray(path.read_bytes())
    start = -1
    for _ in range(nth):
        start = content.index(mark, start + 1)
    content[start + offset : start + offset + len(data)] = data
    path.write_bytes(content)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
PATCHES = {
    "encrypted": (CENTRAL, 1, 8, b"\x01", "SNN101", "encrypted"),
    "compressed": (CENTRAL, 2, 10, b"\x08", "SNN102", "compressed"),
    "secretly compressed": (LOCAL, 2, 8, b"\x08", "SNN102", "two accounts"),
    "other name": (LOCAL, 2, 30, b"W", "SNN102", "two accounts"),
    "no entry there": (LOCAL, 2, 0, b"XX", "SNN102", "no entry"),
    "overlap": (LOCAL, 1, 28, b"\xff\x10", "SNN102", "overlap"),
    "past the end": (LOCAL, 2, 28, b"\xff\xff", "SNN102", "cut off"),
    "sizes differ": (CENTRAL, 2, 20, b"\x01\x00\x00\x00", "SNN102", "compressed"),
}


@pytest.mark.parametrize("kind", PATCHES)
def test_hostile_archives_are_refused(kind: str, model: Path) -> None:
    mark, nth, offset, data, code, part = PATCHES[kind]
    patched(model, mark, nth, offset, data)
    refused(model, code, part)


def test_two_entries_of_one_name_are_refused(model: Path) -> None:
    with zipfile.ZipFile(model, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(TEXT, "snnir 1\n")
    refused(model, "SNN102", "exactly")


def test_every_cut_and_any_flipped_byte_is_an_error_or_harmless(tmp_path: Path) -> None:
    whole = single(dyadic((3, 3)))
    path = tmp_path / "m.snnir"
    write_snnir(whole, path)
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(snnir.SnnirError):
            read_snnir(path)
    for index in range(len(data)):
        path.write_bytes(data[:index] + bytes([data[index] ^ 0xFF]) + data[index + 1 :])
        try:
            assert read_snnir(path) == whole
        except snnir.SnnirError as failure:
            assert str(path) in str(failure)  # noqa: PT017


def described(header: Any, size: int) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * size


def spec(dtype: Any = "U8", shape: Any = (4,), offsets: Any = (0, 4)) -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HEADERS = {
    "not JSON": (struct.pack("<Q", 3) + b"{{{", "not JSON"),
    "a list": (described([1], 0), "not JSON"),
    "nested": (struct.pack("<Q", 200_000) + b"[" * 200_000, "not JSON"),
    "dtype": (described({"w": spec("C64")}, 4), "described wrongly"),
    "dtype of a type": (described({"w": spec(["U8"])}, 4), "described wrongly"),
    "no dtype": (described({"w": {}}, 4), "described wrongly"),
    "negative": (described({"w": spec(shape=[-4])}, 4), "described wrongly"),
    "fraction": (described({"w": spec(shape=[4.0])}, 4), "described wrongly"),
    "offsets": (described({"w": spec(offsets=[0])}, 4), "described wrongly"),
    "backwards": (described({"w": spec(offsets=[4, 0])}, 4), "needs 4 bytes"),
    "count": (described({"w": spec("F64")}, 4), "needs 32 bytes"),
    "overflow": (described({"w": spec(shape=[2**63, 2])}, 4), "needs"),
    "range": (described({"w": spec()}, 3), "needs 4 bytes"),
    "overlap": (described({"v": spec(), "w": spec()}, 4), "overlap"),
    "gap": (described({"v": spec(), "w": spec(offsets=[5, 9])}, 9), "gaps"),
    "axes": (described({"w": spec(shape=[1] * 99, offsets=[0, 1])}, 1), "cannot be mapped"),
    "short": (b"\0" * 7, "cut off"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_lying_weights_are_refused(kind: str, model: Path) -> None:
    data, part = HEADERS[kind]
    rewrite(model, lambda entries: {**entries, WEIGHTS: data})
    refused(model, "SNN102", part)


@pytest.mark.parametrize("offset", [0, 512, 1024, 8192, 2**20])
def test_hdf5_is_told_behind_a_user_block(offset: int, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"\0" * offset + b"\x89HDF\r\n\x1a\n")
    assert sniff(path) == "nir"
    odd = 1536 if offset == 512 else offset + 3  # neither is a power of two times 512
    path.write_bytes(b"\0" * odd + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(snnir.SnnirError, match="SNN101"):
        sniff(path)


def test_files_are_told_by_content(model: Path, tmp_path: Path) -> None:
    assert sniff(model) == "snnir"
    (tmp_path / "text.nir").write_text(str(big()))
    assert sniff(tmp_path / "text.nir") == "snn"


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    for path, part in ((tmp_path, "folder"), (tmp_path / "none", "No such"), ("a\0b", "null")):
        with pytest.raises(snnir.SnnirError, match=f"SNN101.*{part}"):
            sniff(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(snnir.SnnirError, match="regular file"):
        sniff(tmp_path / "pipe")
