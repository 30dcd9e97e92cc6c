"""The graph of a report, as it is seen and used in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Add, Delay, FrozenDict, Graph, Input, Linear, Node, Op, Signal, Value
from tests.browser.conftest import Opener
from tests.browser.pictures import as_text, coarse, from_text, likeness
from tests.helpers import dyadic, feed_forward, graph, lif_step, quiet_load, recurrent

PICTURE = Path(__file__).with_name("nested.txt")
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e&\"'\x1b"


def nested() -> Graph:
    """Two recurrent blocks with a way around the first."""
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (4,))), []),
    }
    last = "input"
    for block in ("first", "second"):
        four = Linear(snnir.tensor(dyadic((4, 4))))
        nodes |= {
            f"{block}.fc": (four, [last]),
            f"{block}.late": (Delay(1), [f"{block}.lif"]),
            f"{block}.rec": (four, [f"{block}.late"]),
            f"{block}.sum": (Add(), [f"{block}.fc", f"{block}.rec"]),
            f"{block}.lif": (lif_step(), [f"{block}.sum"]),
        }
        last = f"{block}.lif"
    nodes["skip"] = (Linear(snnir.tensor(dyadic((4, 4), 3))), ["input"])
    nodes["out.fc"] = (Linear(snnir.tensor(dyadic((4, 4), 4))), [last])
    nodes["end"] = (Add(), ["out.fc", "skip"])
    nodes["lif"] = (lif_step(), ["end"])
    return graph(nodes, "lif", dt=1e-3)


def box(page: Any, name: str) -> Any:
    """Return the box of a node or scope whose label begins with a name."""
    return page.locator(f".boxes .box[aria-label^='{name}:']")


def panel(page: Any) -> str:
    text: str = page.locator(".graph-panel").inner_text()
    return text


def test_a_click_opens_a_node(open_graph: Opener) -> None:
    page = open_graph(feed_forward())
    assert "8" not in panel(page)
    box(page, "lif").click()
    text = panel(page)
    for part in ("lif", "threshold", "beta", "0.875", "spikes<4xf32>", "fc"):
        assert part in text
    assert box(page, "lif").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="fc", exact=True).first.click()
    assert page.locator(".graph-panel h3").inner_text() == "fc"
    assert "4×3" in panel(page)
    page.locator(".graph-panel .close").click()
    assert "This graph" in panel(page)


def test_the_keyboard_is_enough(open_graph: Opener) -> None:
    page = open_graph(recurrent())
    focused = "document.activeElement.getAttribute('aria-label')"
    for _ in range(40):
        page.keyboard.press("Tab")
        if str(page.evaluate(focused)).startswith("input:"):
            break
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused).startswith("fc:")
    page.keyboard.press("Enter")
    assert page.locator(".graph-panel h3").inner_text() == "fc"
    assert (
        page.locator(".box:focus").evaluate(
            "each => getComputedStyle(each.querySelector('.frame')).strokeWidth"
        )
        == "2.5px"
    )
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused).startswith("lif:")
    page.keyboard.press("Escape")
    assert "This graph" in panel(page)
    assert page.evaluate(focused).startswith("lif:")
    page.keyboard.press("/")
    page.keyboard.type("REC")
    page.keyboard.press("Enter")
    assert page.locator(".graph-panel h3").inner_text() == "rec"
    before = page.locator(".level").inner_text()
    page.keyboard.press("+")
    assert page.locator(".level").inner_text() != before


def test_zoom_pan_and_fit(open_graph: Opener) -> None:
    page = open_graph(feed_forward())
    world = page.locator(".graph-svg > g")
    first = world.get_attribute("transform")
    canvas = page.locator(".graph-svg").bounding_box()
    x, y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] - 20
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    for _ in range(250):
        if world.get_attribute("transform") != first:
            break
        page.wait_for_timeout(20)
    zoomed = world.get_attribute("transform")
    assert zoomed != first
    page.mouse.down()
    page.mouse.move(x + 60, y - 30)
    page.mouse.up()
    assert world.get_attribute("transform") != zoomed
    assert "This graph" in panel(page)
    page.get_by_role("button", name="Show the whole graph (0)").click()
    assert world.get_attribute("transform") == first


def test_scopes_of_a_published_model_fold(open_graph: Opener, corpus: Path) -> None:
    model = quiet_load(corpus / "braille_zero.nir", semantics="snntorch", dt=1e-4)
    page = open_graph(model)
    assert box(page, "lif1.lif").count() == 1
    loops = page.locator(".lines .line.feedback .stroke")
    assert loops.count() == 1
    assert "dash" not in loops.evaluate("each => getComputedStyle(each).strokeDasharray || 'dash'")
    boxes = [box(page, f"lif1.{name}").bounding_box() for name in ("lif", "w_rec", "w_rec.delay")]
    line = loops.bounding_box()
    assert line["x"] + line["width"] > max(each["x"] + each["width"] for each in boxes)
    feedback = loops.evaluate("each => getComputedStyle(each).stroke")
    other = page.locator(".lines .line.analog .stroke").first
    assert feedback != other.evaluate("each => getComputedStyle(each).stroke")
    assert "recurrent" in page.locator(".legend").inner_text()
    page.locator(".handle").click()
    assert box(page, "lif1.lif").count() == 0
    assert box(page, "lif1").get_attribute("aria-expanded") == "false"
    assert loops.count() == 0
    assert page.locator(".lines .stroke").count() == 5
    box(page, "lif1").focus()
    page.keyboard.press("Enter")
    assert box(page, "lif1.lif").count() == 1
    page.get_by_role("button", name="Fold every scope", exact=True).click()
    assert box(page, "lif1.lif").count() == 0
    page.get_by_role("combobox").fill("w_rec.delay")
    page.keyboard.press("Enter")
    assert box(page, "lif1.w_rec.delay").count() == 1
    assert "feedback" in panel(page)


def test_late_operands_that_close_no_cycle_are_seen(open_graph: Opener) -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (4,))), []),
        "late": (Delay(3), ["input"]),
    }
    page = open_graph(graph(nodes, "late", dt=1e-3))
    assert page.locator(".lines .line.late").count() == 1
    assert page.locator(".lines .line.feedback").count() == 0
    assert "taken in when the step ends" in page.locator(".legend").inner_text()


CONTRAST = """() => {
  const dot = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    dot.clearRect(0, 0, 1, 1);
    dot.fillStyle = colour;
    dot.fillRect(0, 0, 1, 1);
    return dot.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const frame = at !== element && at.matches('.box') ? at.querySelector('.frame') : null;
      const colour = rgba(frame ? getComputedStyle(frame).fill : getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return rgba('white');
  };
  const told = [];
  for (const element of document.querySelectorAll('h1, h2, h3, h4, p, td, th, dt, dd, nav a, button:enabled, .badge, .muted, .told, .level, .graph-svg text, pre')) {
    if (!element.textContent.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const colour = rgba(element instanceof SVGElement ? style.fill : style.color);
    const [one, other] = [light(colour), light(behind(element))].sort();
    told.push([(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), element.className.baseVal ?? element.className, element.textContent.slice(0, 30)]);
  }
  return told;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(open_graph: Opener, scheme: str) -> None:
    page = open_graph(nested(), color_scheme=scheme)
    box(page, "first.lif").click()
    told = page.evaluate(CONTRAST)
    assert len(told) > 100
    assert [each for each in told if each[0] < 4.5] == []
    page_colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, page_colour[4:-1].split(","))) > 3 * 128
    assert bright == (scheme == "light")
    page.get_by_title("Change between the system's colours, light and dark").click(click_count=2)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 26)"
    assert [each for each in page.evaluate(CONTRAST) if each[0] < 4.5] == []


def test_it_looks_as_it_looked(open_graph: Opener, pytestconfig: pytest.Config) -> None:
    page = open_graph(nested(), color_scheme="light")
    seen = coarse(page.locator(".graph-svg").screenshot())
    if pytestconfig.getoption("--update-golden"):
        PICTURE.write_text(as_text(seen), "utf-8")
    known = from_text(PICTURE.read_text("utf-8"))
    assert likeness(seen, known) > 0.85
    assert likeness(np.roll(seen, 6, axis=1), known) < 0.6
    page.get_by_role("button", name="Fold every scope", exact=True).click()
    assert likeness(coarse(page.locator(".graph-svg").screenshot()), known) < 0.85


def test_hostile_names_stay_text(open_graph: Opener) -> None:
    meta: FrozenDict[str | int | float | bool] = FrozenDict({HOSTILE: "<b>" + "x" * 100_000})
    nodes = {
        "input": Node("input", Input(Signal(snnir.Kind.SPIKES, (3,))), ()),
        HOSTILE: Node(HOSTILE, lif_step(), (Value("fc"),), metadata=meta),
        "fc": Node("fc", Linear(snnir.tensor(dyadic((4, 3)))), (Value("input"),)),
        "n" * 5000: Node("n" * 5000, Delay(1), (Value(HOSTILE),)),
        "." * 300: Node("." * 300, Delay(1), (Value(HOSTILE),)),
    }
    page = open_graph(Graph(nodes, {HOSTILE: Value("n" * 5000)}, dt=1e-3, name=HOSTILE))
    assert page.locator(".boxes .box").count() == 6
    page.locator(".boxes .family-neuron").click()
    assert "<img src=x onerror=alert(1)>" in panel(page)
    assert "\u202e" not in page.content()
    assert page.locator("img").count() == 0
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]


def test_two_thousand_nodes_are_drawn(open_graph: Opener) -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "n0": (Input(Signal(snnir.Kind.SPIKES, (4,))), []),
    }
    for at in range(1, 2000):
        nodes[f"n{at}"] = (Add(), [f"n{at - 1}", f"n{max(0, at - 7)}"])
    page = open_graph(graph(nodes, "n1999", dt=1e-3))
    drawn = page.locator(".far path.box").evaluate_all(
        "each => each.map((path) => path.getAttribute('d').split('M').length - 1)"
    )
    assert sum(drawn) == 2001
    page.get_by_role("combobox").fill("n1234")
    page.keyboard.press("Enter")
    assert "n1233" in panel(page)
    assert box(page, "n1234").is_visible()
    assert page.locator(".boxes .box").count() < 300


def test_without_a_script_the_tables_are_there(browser: Any, tmp_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(snnir.report(feed_forward(), tmp_path / "report.html").as_uri())
    text = page.locator("main").inner_text()
    assert "needs JavaScript" in text
    assert "spikes<4xf32>" in text
    context.close()
