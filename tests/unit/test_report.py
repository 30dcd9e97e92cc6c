"""The page inside an artefact folder."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from snnir.ir import Add, Graph, Input, Linear, Node, Signal, Value
from snnir.reporting.markup import table
from tests.helpers import cli, continuous, dyadic, feed_forward, lif_step, recurrent, spikes

HOSTILE = "<script>alert('x')</script>&\"\x1b[31m"


class Page(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def page(graph: Graph, folder: Path, **options: Any) -> str:
    return (snnir.compile(graph, **options).save(folder) / "report.html").read_text("utf-8")


def chain(count: int) -> Graph:
    nodes = {"n0": Node("n0", Input(Signal(snnir.Kind.SPIKES, (4,))), ())}
    for index in range(1, count):
        both = (Value(f"n{index - 1}"), Value(f"n{index - 1}"))
        nodes[f"n{index}"] = Node(f"n{index}", Add(), both)
    return Graph(nodes, {"output": Value(f"n{count - 1}")}, dt=1e-3)


def test_names_are_escaped(tmp_path: Path) -> None:
    weights = Linear(snnir.tensor(dyadic((4, 3))))
    nodes = {
        "input": Node("input", Input(Signal(snnir.Kind.SPIKES, (3,))), ()),
        HOSTILE: Node(HOSTILE, weights, (Value("input"),)),
        f"{HOSTILE}2": Node(f"{HOSTILE}2", lif_step(), (Value(HOSTILE),)),
    }
    graph = Graph(nodes, {HOSTILE: Value(f"{HOSTILE}2")}, dt=1e-3, name=HOSTILE)
    text = page(graph, tmp_path / "out")
    found = Page(text)
    assert found.tags.count("script") == 2
    assert [node["name"] for node in drawn(text)["nodes"]][1:] == [
        "<script>alert('x')</script>&\"\\x1b[31m", "<script>alert('x')</script>&\"\\x1b[31m2",
    ]  # fmt: skip
    (data,) = re.findall("<script type='application/json'[^>]*>(.*?)</script>", text, re.DOTALL)
    assert not set("<>&") & set(data)
    assert "\x1b" not in text
    assert found.text.count("<script>alert('x')</script>&\"\\x1b[31m") >= 5
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "src"]


def test_the_page_is_deterministic_and_loads_nothing(tmp_path: Path) -> None:
    one, two = (page(recurrent(), tmp_path / name) for name in ("a", "b"))
    assert one == two
    assert not re.search(r"https?:|url\(|@import|<link|<script [^t]|<img", one)


def test_the_page_says_what_was_done(tmp_path: Path) -> None:
    weight = 4 * 3 * 4 + 4 * 4
    found = Page(page(feed_forward(), tmp_path / "out"))
    for part in ("Losses", "None: every pass is exact.", "Inputs and outputs", "spikes<3xf32>",
                 "How neurons are stepped", "dead-code", f"{4 * 3 + 4}"):  # fmt: skip
        assert part in found.text
    total = re.search(r"Weights stored once: ([\d,]+) bytes", found.text)
    assert total is not None
    assert int(total[1].replace(",", "")) >= weight
    given = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    found = Page(page(continuous("lif", **given), tmp_path / "lif"))
    assert "tau * dv/dt = (v_leak - v) + r * x" in found.text


def test_the_page_counts_spikes_on_an_input(tmp_path: Path) -> None:
    x = spikes((40, 2, 3), 0.5)
    made = snnir.compile(feed_forward())
    counted = snnir.activity(made.graph, x)
    path = made.save(tmp_path / "out", counted) / "report.html"
    text = Page(path.read_text("utf-8")).text
    assert f"{x.sum() / 2 * 4:,.0f} synaptic operations" in text
    assert f"{counted.populations[0].rate:.4g}" in text
    assert "ISSCC 2014" in text
    assert "synaptic operations" not in page(feed_forward(), tmp_path / "plain")
    np.savez(tmp_path / "x.npz", input=x)
    snnir.save(feed_forward(), tmp_path / "m.snnir")
    done = cli(
        "compile", tmp_path / "m.snnir", "-o", tmp_path / "cli", "--activity", tmp_path / "x.npz"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cli" / "report.html").read_text("utf-8").count("Per sample, ") == 1
    wrong = cli(
        "compile", tmp_path / "m.snnir", "-o", tmp_path / "no", "--activity", tmp_path / "none.npz"
    )
    assert wrong.returncode == 1
    assert "cannot be read" in wrong.stderr
    assert not (tmp_path / "no").exists()


def drawn(text: str) -> dict[str, Any]:
    """Return what the script draws, as it stands in the page."""
    found = re.search(r"<script type='application/json' id='graph-data'>(.*?)</script>", text)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_every_graph_is_drawn_whatever_its_size(tmp_path: Path) -> None:
    data = drawn(page(chain(3000), tmp_path / "out", passes="verify"))
    assert len(data["nodes"]) == 3000
    root = data["scopes"][0]
    assert sum(map(len, root["layers"])) == len(root["items"]) == 3001
    assert all(len(layer) == 1 for layer in root["layers"])


def test_shared_weights_count_once(tmp_path: Path) -> None:
    weights = Linear(snnir.tensor(np.ones((4, 4), np.float32)))
    nodes = {
        "input": Node("input", Input(Signal(snnir.Kind.SPIKES, (4,))), ()),
        "a": Node("a", weights, (Value("input"),)),
        "b": Node("b", weights, (Value("a"),)),
    }
    text = page(Graph(nodes, {"output": Value("b")}, dt=1e-3), tmp_path / "out")
    assert "Weights stored once: 64 bytes" in text


def test_columns_of_numbers_stand_at_the_right() -> None:
    rows = [("1", 2345, "0.5 %", "-", "a"), ("2", "-", "1e-05", "", "7")]
    found = table(("name", "count", "share", "nothing", "mixed"), rows, ["odd"])
    assert found.count("<th scope='col' class=n>") == 2
    cells = re.findall(r"<td( class='n')?>([^<]*)</td>", found)
    right = {cell for class_, cell in cells if class_}
    assert right == {"2,345", "-", "0.5 %", "1e-05"}
    assert found.count("<tr class='odd'>") == 1
    assert table(("a",), []).count("<td") == 0
