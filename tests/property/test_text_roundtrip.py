"""The text form keeps everything: random graphs, odd values, random damage."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import snnir
from snnir.ir import FrozenDict, Graph, Input, Node, Scale, Signal, Step, Value
from snnir.ir.file import read_snnir, write_snnir
from snnir.ir.parser import parse_graph
from tests.strategies import bit_patterns, graphs, names, odd_graphs, programs, tensors


def resolved(graph: Graph) -> Graph:
    """Print and read a graph with its weights at hand."""
    return parse_graph(str(graph), {t.digest: t for t in graph.tensors().values()})


@given(st.one_of(graphs(), graphs(discrete=False), odd_graphs()))
def test_print_parse_print_is_the_identity(graph: Graph) -> None:
    text = str(graph)
    assert str(resolved(graph)) == text
    assert str(parse_graph(text)) == text


@given(st.one_of(graphs(), graphs(discrete=False), odd_graphs()))
def test_parse_is_the_inverse_of_print(graph: Graph) -> None:
    parsed = resolved(graph)
    assert parsed == graph
    assert list(parsed.nodes) == list(graph.nodes)
    assert parsed.provenance == graph.provenance


@given(st.one_of(tensors(), bit_patterns()), names())
def test_tensors_keep_every_bit(tensor: snnir.Tensor, name: str) -> None:
    nodes = {name: Node(name, Scale(tensor), (Value(name),))}
    found = resolved(Graph(nodes, {})).nodes[name].op.tensors()["scale"]
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert found.numpy().tobytes() == tensor.numpy().tobytes()


@given(st.lists(programs(), min_size=1, max_size=5))
def test_programs_keep_every_operation(given_programs: list[snnir.Dynamics]) -> None:
    nodes = {"a": Node("a", Input(Signal(snnir.Kind.ANALOG, (2,))))}
    nodes |= {
        f"n{index}": Node(f"n{index}", Step(program, FrozenDict()), (Value("a"),))
        for index, program in enumerate(given_programs)
    }
    parsed = parse_graph(str(Graph(nodes, {})))
    for index, program in enumerate(given_programs):
        found = parsed.nodes[f"n{index}"].op
        assert isinstance(found, Step)
        assert repr(found.dynamics) == repr(program)  # unlike ==, it tells 0.0 from -0.0


@given(odd_graphs())
def test_files_keep_odd_values(graph: Graph) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.snnir")
        write_snnir(graph, path)
        assert read_snnir(path) == graph


@given(st.one_of(graphs(), odd_graphs()), st.data())
def test_damaged_text_is_read_or_refused(graph: Graph, data: st.DataObject) -> None:
    text = str(graph)
    for _ in range(5):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 4)))
        piece = data.draw(st.one_of(st.text(max_size=3), st.sampled_from(list('{}[]()@%#:=,"-'))))
        try:
            parse_graph(text[:start] + piece + text[end:])
        except snnir.SnnirError as failure:
            assert "\n" not in str(failure)  # noqa: PT017
