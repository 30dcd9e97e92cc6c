"""Tables of a page in a browser: sorting by a click or a key, before and after of passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from snnir.ir import Graph, Input, Linear, Node, Signal, Value
from tests.helpers import feed_forward, lif_step

Opener = Callable[..., Any]


def layers() -> Graph:
    """Return layers of 3, 40, 5 and 1200 neurons, each behind a matrix."""
    nodes = {"in": Node("in", Input(Signal(snnir.Kind.SPIKES, (3,))))}
    last, width = "in", 3
    for at, size in enumerate((40, 5, 1200)):
        weights = Linear(snnir.tensor(np.ones((size, width), np.float32)))
        nodes[f"fc{at}"] = Node(f"fc{at}", weights, (Value(last),))
        nodes[f"lif{at}"] = Node(f"lif{at}", lif_step(), (Value(f"fc{at}"),))
        last, width = f"lif{at}", size
    return Graph(nodes, {"o": Value(last)}, dt=1e-3)


def column(page: Any, number: int) -> list[str]:
    cells: list[str] = page.locator(f"#nodes tbody tr td:nth-child({number})").all_inner_texts()
    return cells


def test_a_column_sorts_up_and_down_and_back(open_graph: Opener) -> None:
    page = open_graph(layers())
    assert page.locator("#nodes table").get_attribute("data-sort") == ""
    names = ["in", "fc0", "lif0", "fc1", "lif1", "fc2", "lif2"]
    assert column(page, 1) == names
    head = page.locator("#nodes thead th").nth(3)
    button = head.locator("button")
    assert button.inner_text() == "parameters"
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, 4) == ["0", "2", "2", "2", "120", "200", "6,000"]
    button.focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page, 1) == ["fc2", "fc1", "fc0", "lif0", "lif1", "lif2", "in"]
    total = page.locator("#nodes tfoot td").first
    assert total.inner_text() == "in all, shared weights once"
    button.click()
    assert head.get_attribute("aria-sort") is None
    assert column(page, 1) == names


def test_what_is_not_known_stays_last(open_page: Opener, tmp_path: Path) -> None:
    graph = layers()
    x = (np.random.default_rng(0).random((9, 1, 3)) < 0.5).astype(np.float32)
    page = open_page(snnir.report(graph, tmp_path / "r.html", activity=snnir.activity(graph, x)))
    head = page.locator("#activity table[data-sort] thead th button", has_text="neurons")
    rows = page.locator("#activity table[data-sort] tbody tr td:nth-child(3)")
    for order in (["5", "40", "1,200"], ["1,200", "40", "5"]):
        head.click()
        assert rows.all_inner_texts() == [*order, "–", "–", "–"]


def test_before_and_after_stand_side_by_side(open_page: Opener, tmp_path: Path) -> None:
    made = snnir.compile(feed_forward(), passes="quantize")
    page = open_page(made.save(tmp_path / "out") / "report.html")
    details = page.locator("#passes details").first
    assert not details.locator("table").is_visible()
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    row = details.locator("tbody tr, tr").nth(1)
    before, after = (row.locator("td").nth(at).bounding_box() for at in range(2))
    assert before["y"] == after["y"]
    assert abs(before["width"] - after["width"]) < 2
    assert after["x"] >= before["x"] + before["width"] - 1
    section = page.locator("#passes").bounding_box()
    assert after["x"] + after["width"] <= section["x"] + section["width"]
    colours = {
        details.locator(mark).first.evaluate("each => getComputedStyle(each).backgroundColor")
        for mark in ("del", "ins")
    }
    assert len(colours) == 2
