"""Pages on runs, comparisons and chips in a browser: nothing fails, and everything is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import snnir
from tests.speck.test_layers import network
from tests.unit.test_report_parting import X, two_paths

Opener = Callable[..., Any]

#: Where the middle of a path's lines is on the page: left, right, top, bottom.
CORNERS = """path => {
  const box = path.getBBox(), to = path.getScreenCTM();
  const corner = (x, y) => new DOMPoint(x, y).matrixTransform(to);
  const one = corner(box.x, box.y + box.height), two = corner(box.x + box.width, box.y);
  return [one.x, two.x, one.y, two.y];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_comparison_marks_the_first_node(open_page: Opener, tmp_path: Path, scheme: str) -> None:
    found = snnir.diff(two_paths(), two_paths(0.25), X, membranes=True)
    page = open_page(snnir.report(found, tmp_path / "d.html"), color_scheme=scheme)
    marked = page.locator(".box.marked-first")
    assert marked.count() == 1
    assert "left: parts first" in (marked.get_attribute("aria-label") or "")
    assert page.locator(".box.marked-follows").count() == 1
    marked.click()
    assert "parts first" in page.locator(".graph-panel").inner_text()
    ring, band = page.locator("circle.first").first, page.locator("rect.band").first
    first, second = ring.bounding_box(), band.bounding_box()
    middle = first["x"] + first["width"] / 2
    assert middle == pytest.approx(second["x"] + second["width"] / 2, abs=1)
    colours = {
        page.locator(f"path.{kind}").first.evaluate("each => getComputedStyle(each).stroke")
        for kind in ("both", "only-a", "only-b")
    }
    assert len(colours) == 3


def test_spikes_are_inside_their_frame(open_page: Opener, tmp_path: Path) -> None:
    graph = two_paths()
    counted = snnir.activity(graph, X)
    page = open_page(snnir.report(graph, tmp_path / "r.html", activity=counted))
    figures = page.locator("#spikes figure.run")
    assert figures.count() == 4
    for index in range(figures.count()):
        frame = figures.nth(index).locator("rect.frame").first.bounding_box()
        left, right, top, bottom = figures.nth(index).locator("path.spikes").evaluate(CORNERS)
        assert frame["x"] < left < frame["x"] + 0.1 * frame["width"]
        assert 0.9 * frame["width"] < right - frame["x"] < frame["width"]
        assert frame["y"] < top < bottom < frame["y"] + frame["height"]


def test_a_chip_fits_a_narrow_window(open_page: Opener, tmp_path: Path) -> None:
    made = snnir.compile(network(), "speck")
    path = snnir.report(made, tmp_path / "c.html")
    page = open_page(path, viewport={"width": 700, "height": 900})
    chart = page.locator("svg.chart").first.bounding_box()
    assert chart["width"] <= 700
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
