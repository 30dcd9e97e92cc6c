"""Every published file beside the checkout loads, or is refused with the true reason."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnir
from tests.helpers import CORPUS, cli, quiet_load, spikes

FILES = sorted(CORPUS.glob("*.nir")) if CORPUS.is_dir() else []
REFUSED = {"scnn_no_edges.nir": "no 'edges'"}
NEEDS_REPAIR = {
    "braille_v2_dangling.nir": "'lif1.input'",
    "braille_zero_subgraph_broken.nir": "'lif1'",
    "srnn_bool_weights.nir": "must be positive",
}
READABLE = [path for path in FILES if path.name not in REFUSED]
PRESETS = ["exact", "norse", "snntorch", "sinabs", "spyx", "lava", "spinnaker2", "rockpool"]


def test_the_corpus_is_complete(corpus: Path) -> None:
    assert len(list(corpus.glob("*.nir"))) == 11


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_loads_or_is_refused(path: Path) -> None:
    if path.name in REFUSED:
        for repair in (False, True):
            with pytest.raises(snnir.SnnirError, match=REFUSED[path.name]):
                quiet_load(path, repair=repair)
        return
    if path.name in NEEDS_REPAIR:
        with pytest.raises(snnir.SnnirError, match=NEEDS_REPAIR[path.name]):
            quiet_load(path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            snnir.load(path, repair=True)
        assert any("repaired" in str(w.message) for w in caught)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        snnir.load(path)
    assert any("SNN301" in str(w.message) for w in caught)


@pytest.mark.parametrize("semantics", PRESETS)
@pytest.mark.parametrize("path", READABLE, ids=lambda p: p.name)
def test_round_trips_change_no_spike(path: Path, semantics: str, tmp_path: Path) -> None:
    graph = quiet_load(path, semantics=semantics, repair=True)
    x = {n: spikes((12, 2, *s.shape)) for n, s in graph.inputs.items()}
    populations = list(snnir.populations(graph))
    if semantics == "lava" and path.name == "srnn_bool_weights.nir":
        with pytest.raises(snnir.SnnirError, match="v_leak must be 0"):
            snnir.compile(graph)  # as lava-dl's own importer does
        return
    expected = snnir.compile(graph).run(x, populations)
    for suffix in ("nir", "snnir"):
        made = tmp_path / f"model.{suffix}"
        snnir.save(graph, made)
        if suffix == "nir":
            nir.read(made)  # with its type checks
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = snnir.load(made)
        assert again == graph
        result = snnir.compile(again).run(x, populations)
        for name in populations:
            np.testing.assert_array_equal(result.recorded[name], expected.recorded[name])
    snnir.save(snnir.load(tmp_path / "model.snnir"), tmp_path / "back.nir")
    assert snnir.load(tmp_path / "back.nir") == graph


@pytest.mark.parametrize("path", READABLE, ids=lambda p: p.name)
def test_discrete_graphs_round_trip_through_nir(path: Path, tmp_path: Path) -> None:
    graph = snnir.compile(quiet_load(path, semantics="norse", repair=True)).graph
    snnir.save(graph, tmp_path / "model.nir")
    nir.read(tmp_path / "model.nir")
    assert snnir.load(tmp_path / "model.nir") == graph


@pytest.mark.slow
@pytest.mark.parametrize("path", READABLE, ids=lambda p: p.name)
def test_compiled_folder_equals_source(path: Path, tmp_path: Path) -> None:
    done = cli(
        "compile", path, "--repair", "--semantics", "norse", "--verify", "-o", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    assert "identical" in done.stderr


def recording(corpus: Path, name: str) -> Any:
    return np.load(corpus / "recordings" / f"{name}.npy")


@pytest.mark.parametrize(("semantics", "dt"), [("snntorch", None), ("norse", None),
                                               ("norse", 1e-4), ("spyx", None), ("spyx", 1e-4)])  # fmt: skip
def test_hidden_layer_recordings(corpus: Path, semantics: str, dt: float | None) -> None:
    graph = quiet_load(corpus / "braille_zero.nir", semantics=semantics, dt=dt)
    x = recording(corpus, "braille_input")
    found = snnir.compile(graph).run(x, ["lif1.lif"]).recorded["lif1.lif"][:, 0]
    expected = recording(corpus, f"braille_zero_hidden_{semantics}")
    assert int((found != expected).sum()) == 0


@pytest.mark.parametrize("semantics", ["exact", "norse", "snntorch"])
def test_single_neuron_traces(corpus: Path, semantics: str) -> None:
    trace = np.loadtxt(corpus / "recordings" / f"lif_{semantics}.csv", delimiter=",")
    graph = quiet_load(corpus / "lif_norse.nir", semantics=semantics, dt=1e-4)
    result = snnir.compile(graph).run(trace[:, None, :1], ["1:v"])
    np.testing.assert_array_equal(result.output[:, 0, 0], trace[:, 2])
    first = int(trace[:, 2].argmax())
    found = result.recorded["1:v"][:first, 0, 0]
    bound = {"exact": 1e-6, "norse": 5e-9, "snntorch": 0.0}[semantics]
    assert np.abs(found - trace[:first, 1]).max() <= bound


@pytest.mark.parametrize(("semantics", "first"), [("sinabs", 450), ("rockpool", 450),
                                                  ("spyx", 461), ("lava", 461),
                                                  ("spinnaker2", 460), ("nengo", 460)])  # fmt: skip
def test_single_neuron_first_spikes(corpus: Path, semantics: str, first: int) -> None:
    """The published spike steps of the other platforms (NIR paper, experiment 1)."""
    trace = np.loadtxt(corpus / "recordings" / "lif_norse.csv", delimiter=",")
    scale = 0.04 if semantics == "sinabs" else 1.0  # its script scales the input itself
    graph = quiet_load(corpus / "lif_norse.nir", semantics=semantics, dt=1e-4)
    output = snnir.compile(graph).run(trace[:, None, :1] * scale).output[:, 0, 0]
    assert np.flatnonzero(output)[0] == first
    assert len(np.flatnonzero(output)) == 4
