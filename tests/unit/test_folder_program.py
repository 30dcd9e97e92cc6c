"""What every emitted program says of files and names that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnir.folder_program import (
    check_record,
    command_line,
    read_inputs,
    read_lasting,
    write_results,
)

SHAPES = {"a": (3,), "b": (2, 2)}


def test_a_single_array_is_the_first_input_and_gets_a_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((5, 3)))
    assert read_inputs(str(tmp_path / "x.npy"), {"a": (3,)})["a"].shape == (5, 1, 3)


def test_results_can_be_inputs(tmp_path: Path) -> None:
    path = str(tmp_path / "x.npz")
    write_results(path, {"y": np.ones((5, 2, 3))}, {"../n": np.zeros((5, 2, 4))}, {"n": 2.0})
    found = read_inputs(path, {"output/y": (3,), "record/../n": (4,)})
    assert found["output/y"].sum() == 30
    with np.load(path) as data:
        assert data["spike_sums"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.ones((5, 1, 3))}, "input 'b' is not in"),
        ({"a": np.ones((5, 1, 4)), "b": np.ones((5, 1, 2, 2))}, r"'a' must be \[T, B, \*\(3,\)\]"),
        ({"a": np.array([["x"] * 3])}, "'a' must be numbers"),
        ({"a": np.array([[None] * 3])}, "cannot read"),
    ],
)
def test_inputs_that_do_not_fit(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(SystemExit, match=words):
        read_inputs(str(tmp_path / "x.npz"), SHAPES)


@pytest.mark.parametrize("content", [None, b"", b"not an array"])
def test_files_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(SystemExit, match=r"cannot read .*x\.npy"):
        read_inputs(str(tmp_path / "x.npy"), SHAPES)


KNOWN = {"a:w": ((2,), "float32"), "u:step": ((), "uint32")}


def test_what_lasts_is_read_from_results(tmp_path: Path) -> None:
    path = str(tmp_path / "out.npz")
    kept = {"a:w": np.array([1.0, 2.0], np.float32), "u:step": np.array(7)}
    write_results(path, {"y": np.ones((5, 2, 3))}, {}, {}, lasting=kept)
    found = read_lasting(path, KNOWN)
    assert {name: value.tolist() for name, value in found.items()} == {"a:w": [1, 2], "u:step": 7}
    assert read_lasting(None, KNOWN) == {}
    plain = str(tmp_path / "w.npz")
    states: dict[str, Any] = {"a:w": np.array([1, 2], np.float32)}
    np.savez(plain, **states)  # what `result.lasting` gives
    assert read_lasting(plain, KNOWN)["a:w"].tolist() == [1, 2]
    write_results(path, {"y": np.ones((5, 2, 3))}, {"a:w": np.ones((5, 2, 2))}, {}, lasting={})
    with pytest.raises(SystemExit, match="nothing in"):
        read_lasting(path, KNOWN)
    assert command_line("A", learns=True).parse_args(["x", "--lasting", path]).lasting == path
    assert not hasattr(command_line("A").parse_args(["x"]), "lasting")


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ({}, r"nothing in .*x\.npz lasts"),
        ({"b:w": np.ones(2)}, "no lasting state 'b:w', but a:w, u:step"),
        ({"a:w": np.ones(3)}, r"'a:w' must be \[2\], is float64 \[3\]"),
        ({"a:w": np.array(["x", "y"])}, "must be"),
        ({"a:w": np.array([1, np.nan])}, "contains NaN"),
        ({"a:w": np.array([1, 1e300])}, "contains NaN or infinity"),
        ({"u:step": np.array(0.5)}, "must be whole, from 0 to 4294967295"),
        ({"u:step": np.array(2**32)}, "must be whole, from 0 to 4294967295"),
        ({"u:step": np.array(2**32, np.float32)}, "must be whole, from 0 to 4294967295"),
    ],
)
def test_what_lasts_and_does_not_fit(kept: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = str(tmp_path / "x.npz")
    write_results(path, {"y": np.ones((5, 2, 3))}, {}, {}, lasting=kept)
    with pytest.raises(SystemExit, match=words):
        read_lasting(path, KNOWN)


def test_entries_that_are_named_but_missing(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(["lasting/a:w"]))
    with pytest.raises(SystemExit, match="cannot read"):
        read_lasting(str(tmp_path / "x.npz"), KNOWN)
    np.savez(tmp_path / "x.npz", names=np.array("lasting/a:w"))
    with pytest.raises(SystemExit, match="cannot read"):
        read_lasting(str(tmp_path / "x.npz"), KNOWN)


def test_unknown_records_are_named() -> None:
    check_record(["lif"], ["lif"])
    with pytest.raises(SystemExit, match=r"called 'lfi' to record; did you mean 'lif'\?"):
        check_record(["lif", "lfi"], ["lif"])


def test_the_command_line_has_the_programs_first_line() -> None:
    parser = command_line("A network.\n\nmore")
    assert parser.description == "A network."
    assert parser.parse_args(["x.npy"]).output == "output.npz"
