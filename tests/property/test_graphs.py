"""Properties of random graphs: text and file are loss-free, artefacts equal the interpreter."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import snnir
from snnir.ir.file import read_snnir, write_snnir
from snnir.ir.graph import Graph
from snnir.ir.parser import parse_graph
from tests.helpers import spikes
from tests.strategies import graphs


@given(graphs())
def test_text_round_trip(graph: Graph) -> None:
    graph.verify()
    text = str(graph)
    weights = {value.digest: value for value in graph.tensors().values()}
    parsed = parse_graph(text, weights)
    assert parsed == graph
    assert parsed.provenance == graph.provenance
    assert str(parsed) == text
    assert str(parse_graph(text)) == text  # also without the weights


@given(graphs(discrete=False))
def test_continuous_text_round_trip(graph: Graph) -> None:
    weights = {value.digest: value for value in graph.tensors().values()}
    assert parse_graph(str(graph.verify()), weights) == graph


@given(graphs())
def test_file_round_trip(graph: Graph) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.snnir")
        write_snnir(graph, path)
        first = path.read_bytes()
        assert read_snnir(path) == graph
        write_snnir(read_snnir(path), path)
        assert path.read_bytes() == first


def inputs(graph: Graph, steps: int = 12) -> dict[str, Any]:
    return {n: spikes((steps, 2, *s.shape), seed=3) for n, s in graph.inputs.items()}


@given(graphs())
def test_optimised_equals_plain(graph: Graph) -> None:
    x = inputs(graph)
    plain = snnir.compile(graph, level=0).run(x)
    optimised = snnir.compile(graph, level=1).run(x)
    np.testing.assert_array_equal(plain.output, optimised.output)


@given(graphs())
def test_a_run_may_be_split(graph: Graph) -> None:
    x = inputs(graph)
    whole = snnir.compile(graph).run(x).output
    parts = snnir.compile(graph)
    first = parts.run({n: a[:5] for n, a in x.items()}).output
    second = parts.run({n: a[5:] for n, a in x.items()}, resume=True).output
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)


@pytest.mark.slow
@settings(max_examples=15)
@given(graphs())
def test_artefact_equals_interpreter(graph: Graph) -> None:
    x = inputs(graph)
    compiled = snnir.compile(graph, level=0)
    record = [n for n in compiled.graph.nodes if "\0" not in n and not n.startswith("-")]
    record = [n for n in record if n.isprintable()]
    expected = compiled.run(x, record)
    with tempfile.TemporaryDirectory() as folder:
        path = compiled.save(Path(folder, "artefact"))
        result = snnir.run(path, x, record)
        for name, trace in expected.recorded.items():
            found = np.ascontiguousarray(result.recorded[name])
            bits = np.ascontiguousarray(trace)
            np.testing.assert_array_equal(found.view(np.uint8), bits.view(np.uint8), err_msg=name)
        np.testing.assert_array_equal(result.output, expected.output)
        source = (path / "model.py").read_text("utf-8")
        assert "import snnir" not in source
        assert source.isascii()
