"""What the tables of a page say of compiled graphs: true for every level and every frontend."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Delay, Graph, Input, Linear, Node, Plastic, Signal, Step, Value
from snnir.operations import ENERGY
from snnir.reporting.cells import MOST_ROWS, Html, data_table, names
from snnir.state_memory import state_memory
from snnir.streams import DTYPES
from tests.helpers import cli, continuous, dyadic, feed_forward, lif_step, quiet_load, recurrent
from tests.helpers import spikes as random_spikes
from tests.learning.networks import learning_graph
from tests.reporting.pages import Page

HOSTILE = "<script>alert('x')</script>&\"\x1b[31m"
#: A recurrent, a convolutional and a plain network of the corpus, with what makes them readable.
MODELS = {
    "braille_zero.nir": {},
    "nmnist_cnn_sinabs.nir": {},
    "braille_v2_dangling.nir": {"repair": True},
    "two_lif_neurons.nir": {},
}


def compiled(graph: Graph, level: int) -> snnir.Compiled:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        return snnir.compile(graph, level=level)


def saved(made: snnir.Compiled, folder: Path, **options: Any) -> tuple[Page, dict[str, Any]]:
    made.save(folder, **options)
    facts: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return Page((folder / "report.html").read_text("utf-8")), facts


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("semantics", [None, "norse"])
@pytest.mark.parametrize("name", MODELS)
def test_items_are_those_of_what_was_built(
    name: str, semantics: str | None, level: int, corpus: Path, tmp_path: Path
) -> None:
    """Every neuron of the built graph is in one group, with the values it has."""
    made = compiled(quiet_load(corpus / name, semantics=semantics, **MODELS[name]), level)
    page, facts = saved(made, tmp_path / "out")
    groups = facts["meaning"]["groups"]
    neurons = [n.name for n in made.graph.nodes.values() if isinstance(n.op, Step)]
    listed = [n for group in groups for n in group["nodes"] if n in neurons]
    assert sorted(listed) == sorted(neurons)
    for group in groups:
        if not set(group["nodes"]) & set(neurons):
            continue
        for node in group["nodes"]:
            step = made.graph[node].op.dynamics  # type: ignore[attr-defined]
            for item in ("fire", "reset", "reset_timing", "spikes", "clamp", "refractory"):
                if item in group["items"]:
                    assert group["items"][item]["value"] == getattr(step, item)
        by = {k: (v["state"], v["by"]) for k, v in group["items"].items()}
        changed = {k: who for k, (state, who) in by.items() if state == "changed"}
        folded = {"gain", "synapse_gain"} & set(by)
        assert changed == (dict.fromkeys(folded, "pass 'fuse-linear'") if level == 2 else {})
        stated = {state for k, (state, _) in by.items() if k not in (*changed, "number_format")}
        assert stated == {"assumed" if semantics is None else "given"}
        assert by["number_format"][0] == "assumed"
    assert page.items(0)["dt"][0] == f"{made.graph.dt:g} s"
    shown = page.items(1)
    first = groups[0]["items"]
    assert list(shown) == list(first)
    assert [row[1] for row in shown.values()] == [item["state"] for item in first.values()]
    assert len(page.tables["stepping"]) == 1 + len(groups)
    assert facts["meaning"]["on_the_target"] == {}
    kept = page.tables["losses"][-1]
    assert sum(int(row[-1]) for row in kept[1:]) == len(made.graph)
    passes = page.tables["passes"][0]
    assert [row[1] for row in passes[1:]] == [r.spec for r in made.history.records]
    assert [int(row[-1]) for row in passes[1:]] == [r.changed for r in made.history.records]


@pytest.mark.parametrize("suffix", ["snnir", "snn"])
def test_a_file_of_snnir_says_what_the_model_said(
    suffix: str, corpus: Path, tmp_path: Path
) -> None:
    graph = quiet_load(corpus / "braille_zero.nir", semantics="snntorch")
    if suffix == "snn":
        graph = graph.apply("discretize,dead-code")
    snnir.save(graph, tmp_path / f"m.{suffix}")
    done = cli("inspect", tmp_path / f"m.{suffix}", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["meaning"] == snnir.meaning_of(graph)


def test_repairs_are_on_the_page(corpus: Path, tmp_path: Path) -> None:
    graph = quiet_load(corpus / "srnn_bool_weights.nir", repair=True)
    page, _ = saved(compiled(graph, 0), tmp_path / "out")
    badges = [text for kind, text in page.badges if kind == "changed"]
    assert badges
    assert set(badges) == {"changed"}
    rows = [row for table in page.tables["stepping"] for row in table if row[0] == "repair"]
    assert rows
    assert all(row[2:4] == ["changed", "option 'repair'"] for row in rows)
    assert any("must be positive" in row[4] for row in rows)


def test_a_target_that_replaces_a_neuron_changes_it(tmp_path: Path) -> None:
    made = compiled(feed_forward(), 0)
    loss = snnir.LossReport("mine", (
        snnir.loss_report.NodeLoss("lif", "approximate", "is another neuron", 0.125),
        snnir.loss_report.NodeLoss("fc", "approximate", "is another matrix"),
    ))  # fmt: skip
    object.__setattr__(made, "losses", loss)
    page, facts = saved(made, tmp_path / "out")
    changed = {"state": "changed", "by": "target 'numpy'"}
    assert facts["meaning"]["on_the_target"] == {
        "lif": {"value": "is another neuron", **changed},
        "fc": {"value": "is another matrix", **changed},
    }
    assert page.tables["stepping"][-1][1:] == [
        ["lif", "is another neuron", "changed", "target 'numpy'"],
        ["fc", "is another matrix", "changed", "target 'numpy'"],
    ]
    assert page.tables["losses"][-1][1:] == [
        ["approximate", "lif", "is another neuron", "12.50%", "1"],
        ["approximate", "fc", "is another matrix", "", "1"],
    ]


def test_precision_is_an_item_of_the_target(tmp_path: Path) -> None:
    choices: list[tuple[dict[str, Any], str]] = [
        ({}, "assumed"), ({"precision": "float64"}, "given"),
    ]  # fmt: skip
    for options, state in choices:
        made = snnir.compile(feed_forward(), "numpy", **options)
        page, _ = saved(made, tmp_path / state)
        assert page.items(0)["precision"][1] == state


def test_a_chip_says_what_it_does_otherwise(corpus: Path, tmp_path: Path) -> None:
    graph = quiet_load(corpus / "nmnist_cnn_sinabs.nir", semantics="sinabs")
    made = snnir.compile(graph, "speck")
    page, facts = saved(made, tmp_path / "out")
    told = facts["meaning"]["on_the_target"]
    assert set(told) == {entry.node for entry in made.losses.losses}
    (group,) = facts["meaning"]["groups"]
    assert set(group["nodes"]) <= set(told)
    rows = {row[0]: row[1] for row in page.tables["stepping"][-1]}
    assert "weights in 8 bits" in rows["1"]


# --- Layers ---------------------------------------------------------------------------------------


def brute_force_state(graph: Graph) -> dict[str, int]:
    """Count the states of the engine that NumPy runs, for one sample."""
    found = {}
    for node in graph.nodes.values():
        op = node.op
        if isinstance(op, Delay) and not isinstance(op.steps, snnir.Tensor):
            buffer = np.zeros((op.steps, *graph.signal(node.name).shape), np.float32)
            found[node.name] = buffer.nbytes
        elif isinstance(op, (Step, Plastic)):
            program = op.program if isinstance(op, Step) else op.rule
            shape = graph.signal(node.name).shape if isinstance(op, Step) else op.shape
            arrays = [np.zeros(shape, DTYPES[program.dtype]) for s in program.states
                      if not s.lasting]  # fmt: skip
            if arrays:
                found[node.name] = sum(array.nbytes for array in arrays)
    return found


def test_state_memory_is_what_a_sample_needs(corpus: Path) -> None:
    for graph in (recurrent(3), learning_graph(), feed_forward().apply("quantize")):
        assert {k: v for k, v in state_memory(graph).items() if v} == brute_force_state(graph)
    model = quiet_load(corpus / "braille_zero.nir", semantics="snntorch")
    stepped = model.apply("discretize")
    assert state_memory(model) == state_memory(stepped) == brute_force_state(stepped)
    neurons = {n: v for n, v in state_memory(stepped).items() if not n.endswith("delay")}
    assert neurons == {"lif1.lif": 38 * 2 * 4, "lif2": 7 * 2 * 4}


def test_delays_of_their_own_hold_as_many_values_as_they_last() -> None:
    steps = snnir.Tensor(np.array([0, 2, 5], np.int64))
    nodes = {
        "a": Node("a", Input(Signal(snnir.Kind.SPIKES, (2, 3)))),
        "d": Node("d", Delay(steps), (Value("a"),)),
    }
    assert state_memory(Graph(nodes, {"o": Value("d")}, dt=1e-3)) == {"d": 2 * 7 * 4}


def test_neurons_that_cannot_be_stepped_have_no_known_state() -> None:
    bad = continuous("lif", tau=0.01, r=1.0, v_leak=0.5, v_threshold=1.0, v_reset=0.0)
    editor = bad.edit()
    op: Any = bad["n"].op
    stepping = snnir.Stepping("euler", form="fixed")
    editor.set_op("n", type(op)(op.model, op.params, stepping))
    graph = editor.graph()
    assert state_memory(graph) == {"n": None}
    page = Page(snnir.report_page(graph))
    assert page.tables["nodes"][0][2][-1] == "–"
    assert "1 neurons cannot be stepped yet" in page.texts["nodes"]


def test_shared_weights_are_named_and_count_once() -> None:
    weight = snnir.tensor(np.ones((4, 4), np.float32))
    nodes = {
        "input": Node("input", Input(Signal(snnir.Kind.SPIKES, (4,)))),
        "a": Node("a", Linear(weight), (Value("input"),)),
        "b": Node("b", Linear(weight, snnir.tensor(dyadic((4,)))), (Value("a"),)),
    }
    page = Page(snnir.report_page(Graph(nodes, {"o": Value("b")}, dt=1e-3)))
    rows = {row[0]: row[1:] for row in page.tables["nodes"][0]}
    assert rows["a"] == ["linear", "analog<4xf32>", "16", "64", "", "0"]
    assert rows["b"] == ["linear", "analog<4xf32>", "20", "80", "weight with a", "0"]
    assert rows["in all, shared weights once"] == ["", "", "20", "80", "", "0"]


def number(cell: str) -> float:
    return 0.0 if cell == "–" else float(cell.replace(",", ""))


def test_work_and_energy_of_layers_add_up(tmp_path: Path) -> None:
    graph = recurrent(2)
    found = snnir.activity(graph, random_spikes((40, 3, 3), 0.4))
    page, _ = saved(compiled(graph, 1), tmp_path / "out", activity=found)
    head, *rows, total = page.tables["activity"][0]
    assert [row[0] for row in rows] == ["fc", "rec", "lif"]
    energy = found.energy()
    for name, (event, dense) in energy.items():
        parts = [each[name] for each in found.energy_by_node().values()]
        assert sum(part[0] for part in parts) == pytest.approx(event)
        assert dense is None or sum(part[1] or 0 for part in parts) == pytest.approx(dense)
        column = head.index(f"nJ, {name}")
        assert number(total[column]) == pytest.approx(event * 1e9, rel=1e-3)
        assert sum(number(row[column]) for row in rows) == pytest.approx(event * 1e9, rel=1e-3)
        assert (f"nJ, {name}, dense" in head) == (dense is not None)
    lif = dict(zip(head, rows[-1], strict=True))
    (population,) = found.populations
    assert number(lif["neurons"]) == 4
    assert number(lif["spikes"]) == pytest.approx(population.spikes, rel=1e-3)
    assert number(lif["Hz"]) == pytest.approx(population.rate / 1e-3, rel=1e-3)
    rec = dict(zip(head, rows[1], strict=True))
    assert number(rec["synaptic operations"]) == pytest.approx(found.synapses[1].operations, 1e-3)
    assert number(rec["dense products"]) == 16 * 40
    constants = page.tables["activity"][1]
    assert [row[-1] for row in constants[1:]] == [source for *_, source in ENERGY.values()]
    events, dense = found.energy_by_node()["rec"]["Loihi"]
    assert events == pytest.approx(found.synapses[1].operations * 23.6e-12)
    assert dense is None


def test_work_is_in_the_order_of_flow(corpus: Path) -> None:
    graph = quiet_load(corpus / "braille_zero.nir", semantics="snntorch")
    found = snnir.activity(graph, random_spikes((4, 1, 12)))
    page = Page(snnir.report_page(graph, activity=found))
    _, *rows, _ = page.tables["activity"][0]
    assert [row[0] for row in rows] == ["fc1", "lif1.w_rec", "lif1.lif", "fc2", "lif2"]


# --- Cells ----------------------------------------------------------------------------------------


def test_cells_are_escaped_aligned_and_cut() -> None:
    rows = [("<b>", 1234, 0.5, None, Html("<i>x</i>"), True), ("c", -5, 12345.6, 1e20, "", False)]
    text = data_table(["<h>", "n", "f", "none", "html", "flag"], rows, ("all", 1), sortable=True)
    page = Page(text)
    assert page.tables[""][0] == [
        ["<h>", "n", "f", "none", "html", "flag"],
        ["<b>", "1,234", "0.5", "–", "x", "True"],
        ["c", "-5", "12,346", "1e+20", "", "False"],
        ["all", "1"],
    ]
    assert "<b>" not in text
    heads = [given.get("class") for tag, given in page.tags if tag == "th"]
    assert heads == [None, "n", "n", "n", None, None]
    assert ("table", {"data-sort": None}) in page.tags
    assert "data-sort" not in data_table(["a"], [("b",)], sortable=True)
    long = data_table(["a"], [(at,) for at in range(MOST_ROWS + 5)])
    assert long.count("<tr>") == MOST_ROWS + 1
    assert "5 more rows are not shown" in long


def test_many_names_fold_away() -> None:
    assert names(["a", "<b>"]) == "a, &lt;b&gt;"
    many = names([f"n{at}" for at in range(30)])
    assert "<summary>and 18 more</summary>n12, n13" in many
    assert "n29</details>" in many
    huge = names([f"n{at}" for at in range(MOST_ROWS + 20)])
    assert "and 8 more</details>" in huge


def test_hostile_names_are_escaped_in_every_section(tmp_path: Path) -> None:
    nodes = {
        "input": Node("input", Input(Signal(snnir.Kind.SPIKES, (3,)))),
        HOSTILE: Node(HOSTILE, Linear(snnir.tensor(dyadic((4, 3)))), (Value("input"),)),
        f"{HOSTILE}2": Node(f"{HOSTILE}2", lif_step(), (Value(HOSTILE),)),
    }
    origins = snnir.ir.origins.Origins(
        nodes={f"{HOSTILE}2": snnir.ir.FrozenDict(
            {HOSTILE: snnir.ir.origins.Origin(HOSTILE, "given", HOSTILE, HOSTILE)})},
    )  # fmt: skip
    graph = Graph(nodes, {HOSTILE: Value(f"{HOSTILE}2")}, dt=1e-3, name=HOSTILE,
                  provenance=snnir.ir.Provenance(origins=origins))  # fmt: skip
    found = snnir.activity(graph, random_spikes((9, 1, 3)))
    made = snnir.compile(graph, passes="canonicalize,fuse-linear,quantize")
    made.save(tmp_path / "out", activity=found)
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    page = Page(text)
    assert "\x1b" not in text
    assert not re.search(r"<script>alert", text)
    for section in ("stepping", "nodes", "activity", "passes", "losses"):
        assert "alert('x')" in page.texts[section], section
    assert page.items(1)[HOSTILE.replace("\x1b", "\\x1b")][0].startswith("<script>")


def test_pages_of_large_graphs_stay_small() -> None:
    nodes = {"n0": Node("n0", Input(Signal(snnir.Kind.SPIKES, (4,))))}
    for at in range(1, 3001):
        name = f"n{at}"
        op: Any = Linear(snnir.tensor(np.eye(4, dtype=np.float32))) if at % 2 else lif_step()
        nodes[name] = Node(name, op, (Value(f"n{at - 1}"),))
    graph = Graph(nodes, {"o": Value("n3000")}, dt=1e-3)
    made = snnir.compile(graph, level=2)
    from snnir.artefact import manifest
    from snnir.reporting.layers import layer_sections
    from snnir.reporting.meaning import meaning_sections

    facts = manifest(made, {})
    sections = [*meaning_sections(facts, made.losses), *layer_sections(made.graph, facts, None)]
    assert sum(len(section.body) for section in sections) < 600_000
    assert len(facts["meaning"]["groups"]) == 1
    assert len(facts["meaning"]["groups"][0]["nodes"]) == 1500
