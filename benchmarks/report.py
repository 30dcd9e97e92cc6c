"""Time and size of a report: made by Python, opened in Chromium.

    python x.py bench report

Chains of LIF layers with a way around every fifth, flat and as recurrent blocks in nested scopes,
and models of your own: `python x.py bench report model.nir`. "Opens" is the time from asking for
the file to the second frame after it was loaded; "unfolds" from the press on the button to the
second frame. Compare with `compile`, on the same machine; trust the ratios.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from snnir.ir import Add, Delay, FrozenDict, Graph, Input, Linear, Node, Op, Signal, Step, Value

SIZES = (2000, 10_000)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Net:
    """A graph while it grows; every layer has four neurons."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.four = Linear(snnir.tensor(np.eye(4, dtype=np.float32)))
        params = {"beta": snnir.tensor(0.875), "threshold": snnir.tensor(1.0)}
        self.lif = Step(snnir.LifStep(), FrozenDict(params), "lif")
        self.last = self.add("input", Input(Signal(snnir.Kind.SPIKES, (4,))))

    def add(self, name: str, op: Op, *sources: str) -> str:
        self.nodes[name] = Node(name, op, tuple(map(Value, sources)))
        return name

    def graph(self) -> Graph:
        return Graph(self.nodes, {"output": Value(self.last)}, dt=1e-3)


def flat(nodes: int) -> Graph:
    """Layers one after another; every fifth also reads what was ten layers before."""
    net = Net()
    before = [net.last]
    while len(net.nodes) < nodes:
        at = len(before)
        drive = net.add(f"fc{at}", net.four, net.last)
        if at % 5 == 0:
            skip = net.add(f"skip{at}", net.four, before[max(0, at - 10)])
            drive = net.add(f"sum{at}", Add(), drive, skip)
        net.last = net.add(f"lif{at}", net.lif, drive)
        before.append(net.last)
    return net.graph()


def nested(nodes: int) -> Graph:
    """Blocks of five layers with a recurrent one, twenty blocks to a stage."""
    net = Net()
    block = 0
    while len(net.nodes) < nodes:
        path = f"stage{block // 20}.block{block % 20}"
        for at in range(5):
            drive = net.add(f"{path}.fc{at}", net.four, net.last)
            if at == 2:
                late = net.add(f"{path}.rec.delay", Delay(1), f"{path}.lif{at}")
                back = net.add(f"{path}.rec.fc", net.four, late)
                drive = net.add(f"{path}.sum", Add(), drive, back)
            net.last = net.add(f"{path}.lif{at}", net.lif, drive)
        block += 1
    return net.graph()


def measured(browser: Any, graph: Graph, path: Path) -> dict[str, float]:
    """Return seconds of every part, and the size in MB."""
    start = time.perf_counter()
    snnir.compile(graph, level=1)
    compiled = time.perf_counter()
    snnir.report(graph, path)
    found = {
        "compile": compiled - start,
        "report": time.perf_counter() - compiled,
        "MB": path.stat().st_size / 1e6,
    }
    if browser is None:
        return found
    page = browser.new_page(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.evaluate(FRAMES)
    found["opens"] = time.perf_counter() - start
    unfold = page.get_by_role("button", name="Unfold every scope")
    if unfold.count() and unfold.is_enabled():
        start = time.perf_counter()
        unfold.click()
        page.evaluate(FRAMES)
        found["unfolds"] = time.perf_counter() - start
    page.close()
    return found


def show(name: str, found: dict[str, float]) -> None:
    """Print one line."""
    print(f"{name:24}", ", ".join(f"{key} {value:.2f}" for key, value in found.items()), flush=True)


def run(browser: Any, models: list[str]) -> None:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "report.html")
        measured(browser, flat(50), path)  # imports and the first page
        for nodes in SIZES:
            show(f"flat, {nodes} nodes", measured(browser, flat(nodes), path))
            show(f"nested, {nodes} nodes", measured(browser, nested(nodes), path))
        for model in models:
            graph = snnir.load(model, semantics="exact", dt=1e-3)
            show(Path(model).name, measured(browser, graph, path))


def main() -> None:
    """Measure, with a browser if there is one."""
    warnings.simplefilter("ignore")
    given = os.environ.get("SNNIR_CHROMIUM")
    found = next(filter(None, map(shutil.which, (given,) if given else NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        print("no Chromium, or no playwright: Python's part alone")
        run(None, sys.argv[1:])
        return
    with sync_playwright() as playwright:
        args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=found, args=args)
        run(browser, sys.argv[1:])
        browser.close()


if __name__ == "__main__":
    main()
