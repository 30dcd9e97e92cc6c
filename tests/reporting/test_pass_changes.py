"""What a pass changed, as text, and how a page shows it."""

from __future__ import annotations

import gc
import html
import re
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnir
from snnir.ir import Add, Graph, Input, Linear, Node, Scale, Signal, Value
from snnir.pass_changes import MOST, Change
from snnir.pipeline import PassRecord
from snnir.reporting.changes import changes_section, marked
from tests.helpers import cli, continuous, dyadic, feed_forward, nir_file
from tests.reporting.pages import Page


def chain(count: int, scale: float = 1.0) -> Graph:
    """Return a chain of scales by a vector of nine equal numbers."""
    nodes = {"n0": Node("n0", Input(Signal(snnir.Kind.ANALOG, (9,))), ())}
    for at in range(1, count):
        factor = snnir.tensor(np.full(9, scale, np.float32))
        nodes[f"n{at}"] = Node(f"n{at}", Scale(factor), (Value(f"n{at - 1}"),))
    return Graph(nodes, {"output": Value(f"n{count - 1}")}, dt=1e-3)


@dataclass(frozen=True)
class Replaced(snnir.Pass):
    """Give another graph, whatever comes."""

    name: ClassVar[str] = "replaced"
    by: Graph = field(default_factory=feed_forward)

    def run(self, graph: Graph) -> Graph:
        return self.by

    def __str__(self) -> str:
        return self.name


def record(before: Graph, after: Graph) -> PassRecord:
    return snnir.Manager().run(before, [Replaced(after)]).records[0]


def told(before: Graph, after: Graph) -> dict[str | None, tuple[str | None, str | None]]:
    found = record(before, after)
    return {change.node: (change.before, change.after) for change in found.changes}


def test_a_changed_node_is_told_before_and_after() -> None:
    graph = feed_forward()
    editor = graph.edit()
    editor.add("more", Linear(snnir.tensor(dyadic((4, 4)))), ["lif"])
    editor.set_op("fc", Linear(snnir.tensor(dyadic((4, 3), 5)), graph["fc"].op.tensors()["bias"]))
    editor.outputs["output"] = Value("more")
    after = editor.graph()
    found = told(graph, after)
    assert list(found) == [None, "fc", "more"]
    whole, fc, more = found.values()
    assert whole == ("graph(dt = 0.001) return {output = %lif}",
                     "graph(dt = 0.001) return {output = %more}")  # fmt: skip
    values = ", ".join(map(str, graph["fc"].op.tensors()["bias"].numpy().tolist()))
    bias = f"bias = f32[{values}]"
    assert bias in (fc[0] or "")
    assert "weight = 4x3xf32," in (fc[0] or "")
    assert "weight = 4x3xf32 of other values," in (fc[1] or "")
    assert more == (None, "%more = linear(%lif) {weight = 4x4xf32} : analog<4xf32>")
    gone = told(after, graph)
    assert gone["more"] == (more[1], None)


def test_weights_of_equal_values_are_not_marked() -> None:
    one, two = chain(3), chain(3)
    assert told(one, two)["n1"] == (
        "%n1 = scale(%n0) {scale = 9xf32} : analog<9xf32>",
        "%n1 = scale(%n0) {scale = 9xf32} : analog<9xf32>",
    )
    assert "of other values" in (told(one, chain(3, 2.0))["n1"][1] or "")
    large = np.zeros((3, 70_000), np.float32)
    last = large.copy()
    last[2, -1] = 1
    graphs = [
        Graph(
            {
                "a": Node("a", Input(Signal(snnir.Kind.ANALOG, (3, 70_000)))),
                "b": Node("b", Scale(snnir.tensor(array)), (Value("a"),)),
            },
            {"o": Value("b")},
        )
        for array in (large, last, large.copy())
    ]
    assert "of other values" in (told(graphs[0], graphs[1])["b"][1] or "")
    assert "of other values" not in (told(graphs[0], graphs[2])["b"][1] or "")


def test_step_programs_are_told_in_full() -> None:
    result = snnir.run_pipeline(feed_forward(), "quantize")
    (lif,) = (change for change in result.records[0].changes if change.node == "lif")
    assert lif.before is not None
    assert "{dynamics = lif{}, params = {threshold = f32 1.0" in lif.before
    assert lif.after is not None
    assert re.search(r"dynamics @\S+ .* i\d\d \{\n  inputs x\n", lif.after)
    assert "\n  next v = " in lif.after


def test_at_most_a_hundred_nodes_are_told_but_all_are_counted() -> None:
    found = record(chain(MOST + 40), chain(MOST + 40, 2.0))
    assert found.changed == MOST + 40
    assert [change.node for change in found.changes] == [f"n{at}" for at in range(MOST)]
    grown = record(chain(50), chain(MOST + 51))
    assert grown.changed == MOST + 51
    assert sum(1 for change in grown.changes if change.node is not None) == MOST
    page = Page(changes_section(snnir.run_pipeline(chain(2), "verify")).body)
    assert page.tables[""][0][1][1:] == ["verify", "exact", "2", "2", "0"]


def test_a_pass_that_gives_back_its_graph_changed_nothing() -> None:
    graph = feed_forward()
    assert record(graph, graph).changes == ()
    assert record(graph, replace(graph)).changes == ()


def test_records_keep_no_weights_alive() -> None:
    array = np.ones((64, 64), np.float32)
    held = weakref.ref(array)
    graph = Graph(
        {
            "a": Node("a", Input(Signal(snnir.Kind.ANALOG, (64,)))),
            "b": Node("b", Linear(snnir.Tensor(array)), (Value("a"),)),
            "c": Node("c", Add(), (Value("b"), Value("b"))),
        },
        {"o": Value("c")},
    )
    kept = record(graph, chain(3))
    assert any("64x64xf32" in (change.before or "") for change in kept.changes)
    del graph, array
    gc.collect()
    assert held() is None


def test_very_long_texts_are_cut() -> None:
    node = "x" * 5000
    one = Graph({node: Node(node, Input(Signal(snnir.Kind.ANALOG, (2,))))}, {"o": Value(node)})
    two = replace(one, outputs={"p": Value(node)})
    ((_, (before, after)),) = told(one, two).items()
    assert before is not None
    assert after is not None
    assert len(before) < 3100
    assert before.endswith(" …")


def plain(side: str) -> str:
    return html.unescape(re.sub(r"</?(ins|del)>", "", side))


TEXTS = st.text(st.sampled_from("ab <>&'\"=,.\n1"), max_size=60)


@given(TEXTS, TEXTS)
def test_marks_add_nothing_and_hide_nothing(before: str, after: str) -> None:
    left, right = marked(before, after)
    assert (plain(left), plain(right)) == (before, after)
    assert "<ins>" not in left
    assert "<del>" not in right
    rest = [re.sub(r"<(ins|del)>.*?</\1>", "", side, flags=re.DOTALL) for side in (left, right)]
    assert rest[0] == rest[1]


def test_marks_are_by_the_word() -> None:
    left, right = marked("lif{reset = to}", "lif{reset = zero}")
    assert left == "lif{reset = <del>to</del>}"
    assert right == "lif{reset = <ins>zero</ins>}"
    long = " ".join(f"w{at}" for at in range(2000))
    assert marked(long, long + " end")[1].endswith("end</ins>")


def test_the_page_folds_what_a_pass_changed() -> None:
    result = snnir.run_pipeline(
        continuous("lif", tau=0.01, r=1.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0),
        "discretize,verify",
    )
    section = changes_section(result)
    page = Page(section.body)
    passes, nodes = page.tables[""]
    assert passes[1][1:] == ["discretize", "exact", "2", "2", "1"]
    assert nodes[0] == ["node", "before", "after"]
    assert nodes[1][0] == "n"
    assert "neuron(%input)" in nodes[1][1]
    assert "step(%input)" in nodes[1][2]
    assert [tag for tag, _ in page.tags].count("details") == 1
    assert "<del>neuron</del>" in section.body
    assert str(result.records[0].seconds) not in section.body


def test_what_came_and_went_has_an_empty_side() -> None:
    found = PassRecord("p", "exact", 0.1, 1, 1, 3, (
        Change("a", None, "%a"), Change("b", "%b", None), Change("c", "%c", "%c"),
    ))  # fmt: skip
    result = snnir.run_pipeline(chain(1), "verify")
    page = Page(changes_section(replace(result, records=(found,))).body)
    assert page.tables[""][1][1:] == [["a", "", "%a"], ["b", "%b", ""],
                                      ["c", "%c", "the same, made anew"]]  # fmt: skip
    few = replace(found, changed=200)
    text = changes_section(replace(result, records=(few,))).body
    assert "200 nodes, the first 3 are shown" in text


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "</pre><img src=x>", "\x1b[31m"])
def test_names_are_escaped(hostile: str) -> None:
    graph = feed_forward()
    editor = graph.edit()
    editor.add(hostile, Add(), ["fc", "fc"])
    result = snnir.run_pipeline(editor.graph(), "dead-code")
    assert result.records[0].changed == 1
    body = changes_section(result).body
    assert "<script" not in body
    assert "<img" not in body
    assert "\x1b" not in body


def test_opt_prints_changes(tmp_path: Path) -> None:
    path = nir_file(tmp_path / "m.nir")
    done = cli("opt", path, "--semantics", "norse", "--passes", "discretize,verify", "--changes",
               "-o", tmp_path / "m.snn")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    at = lines.index("discretize: 1 nodes changed")
    assert lines[at + 1].startswith("  - %n1 = neuron(")
    assert lines[at + 2].startswith("  + %n1 = step(")
    assert "verify: 0 nodes changed" in lines
