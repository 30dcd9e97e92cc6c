"""What lasts of a run, in files: results, folders that run without us, and trained models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from tests.helpers import cli
from tests.learning.networks import inputs_of, learning_graph, random_graph


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the network, compiled, and its input."""
    graph = learning_graph()
    snnir.save(graph, tmp_path / "net.snnir")
    np.savez(tmp_path / "x.npz", **inputs_of(graph))
    snnir.compile(graph, "numpy").save(tmp_path / "built")
    return tmp_path


def done(*arguments: Any, cwd: Path) -> str:
    found = cli(*arguments, cwd=cwd)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_training_on_the_command_line(folder: Path) -> None:
    """A model, its folder, and the folder's own program learn the same; what is kept starts it."""
    graph, x = snnir.load(folder / "net.snnir"), snnir.read_array(str(folder / "x.npz"))
    first = snnir.run(graph, x)
    second = snnir.run(graph, x, lasting=first.lasting)
    assert (second.lasting["synapses:w"] != first.lasting["synapses:w"]).any()
    given = ("--input", "x.npz", "-o")
    done("run", "net.snnir", *given, "1.npz", cwd=folder)
    done("run", "built", *given, "2.npz", "--lasting", "1.npz", cwd=folder)
    alone = [sys.executable, "-I", "built/model.py", "x.npz", "-o", "3.npz", "--lasting", "1.npz"]
    subprocess.run(alone, cwd=folder, check=True, capture_output=True)
    done("convert", "net.snnir", "--lasting", "1.npz", "-o", "trained.snnir", cwd=folder)
    done("run", "trained.snnir", *given, "4.npz", cwd=folder)
    for name, run in (("1", first), ("2", second), ("3", second), ("4", second)):
        kept = snnir.read_lasting(str(folder / f"{name}.npz"))
        assert set(kept) == {"synapses:w", "out:theta"}
        for key, value in kept.items():
            np.testing.assert_array_equal(value, run.lasting[key], f"{name} {key}")


def test_folders_say_what_lasts(folder: Path) -> None:
    facts = json.loads((folder / "built" / "manifest.json").read_text())
    assert facts["lasting"] == [
        {"name": "synapses:w", "shape": [4, 6], "dtype": "float32"},
        {"name": "out:theta", "shape": [4], "dtype": "float32"},
    ]
    x = snnir.read_array(str(folder / "x.npz"))
    with pytest.raises(
        snnir.SnnirError, match=r"SNN601.*no lasting state 'synapses:v'.*'?synapses:w"
    ):
        snnir.run(folder / "built", x, lasting={"synapses:v": np.ones((4, 6))})
    with pytest.raises(snnir.SnnirError, match=r"SNN601.*must be \[4, 6\], got"):
        snnir.run(folder / "built", x, lasting={"synapses:w": np.ones(4)})
    with pytest.raises(snnir.SnnirError, match="SNN701.*cannot set 'lasting'"):
        snnir.run(folder / "built", x, settings=["lasting=x.npz"])


def test_nothing_lasts_of_other_networks(tmp_path: Path) -> None:
    from tests.helpers import feed_forward

    graph = feed_forward()
    snnir.compile(graph, "numpy").save(tmp_path / "built")
    (signal,) = graph.inputs.values()
    x = np.ones((3, 1, *signal.shape), np.float32)
    assert snnir.run(tmp_path / "built", x).lasting == {}
    with pytest.raises(snnir.SnnirError, match="SNN601.*nothing lasts here"):
        snnir.run(tmp_path / "built", x, lasting={"a:w": np.ones(1)})


def test_random_numbers_of_a_folder_go_on(tmp_path: Path) -> None:
    graph = random_graph()
    snnir.compile(graph, "numpy").save(tmp_path / "built")
    x = inputs_of(graph, 5)
    runs = [snnir.run(tmp_path / "built", x)]
    runs.append(snnir.run(tmp_path / "built", x, lasting=runs[0].lasting))
    assert [int(run.lasting["u:step"]) for run in runs] == [5, 10]
    long = snnir.run(graph, {"p": np.concatenate([x["p"]] * 2)}).outputs["numbers"]
    np.testing.assert_array_equal(np.concatenate([r.outputs["numbers"] for r in runs]), long)


def test_files_of_states(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    kept: dict[str, Any] = {"a/b:w": np.ones(2)}
    np.savez(path, **kept)
    assert snnir.read_lasting(str(path))["a/b:w"].tolist() == [1, 1]
    np.savez(path, names=np.array(["output/y"]), array_0=np.ones(2))
    with pytest.raises(snnir.SnnirError, match="SNN601.*holds nothing that lasts"):
        snnir.read_lasting(str(path))
    np.save(tmp_path / "w.npy", np.ones(2))
    with pytest.raises(snnir.SnnirError, match="SNN601.*must be a .npz"):
        snnir.read_lasting(str(tmp_path / "w.npy"))
    path.write_bytes(b"no archive")
    with pytest.raises(snnir.SnnirError, match="SNN601.*cannot be read"):
        snnir.read_lasting(str(path))
