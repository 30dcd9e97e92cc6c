"""Pages on runs: where spikes and traces are drawn, what is said of them, and their limits."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.cli.run_cmd import _membranes
from snnir.reporting.charts import INNER, Frame, line, nice, number
from snnir.reporting.runs import MOST_PANELS, MOST_TRACES, run_sections
from tests.helpers import cli, feed_forward, recurrent, spikes

HOSTILE = "<script>alert('x')</script>&\"\x1b[31m"


class Drawn(HTMLParser):
    """The text of a page and the attributes of its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.text += data

    def paths(self, class_: str) -> list[dict[str, str]]:
        return [own for tag, own in self.elements if tag == "path" and own["class"] == class_]


def stats(**arrays: Any) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "neurons": int(np.prod(y.shape[2:])),
            "spikes": int(y.sum()),
            "rate": float(y.mean()) if y.size else 0.0,
        }
        for name, y in arrays.items()
    }


def drawn(dt: float | None = None, sample: int = 0, **arrays: Any) -> Drawn:
    """Return what is drawn of populations."""
    result = snnir.Result({}, arrays, stats(**arrays))
    return Drawn("".join(s.body for s in run_sections(result, dt, sample=sample)))


def marks_of(path: dict[str, str]) -> list[tuple[int, int]]:
    """Return (step, neuron) of every spike of a path."""
    found = re.findall(r"M(\d+)\.5 (\d+)\.1v\.8", path["d"])
    assert "".join(f"M{s}.5 {n}.1v.8" for s, n in found) == path["d"]
    return [(int(step), int(neuron)) for step, neuron in found]


def test_every_spike_is_where_it_was() -> None:
    y = spikes((37, 3, 2, 5), 0.2)
    [path] = drawn(lif=y, sample=2).paths("spikes")
    expected = {(int(t), int(n)) for t, n in np.argwhere(y[:, 2].reshape(37, 10))}
    assert set(marks_of(path)) == expected
    assert len(marks_of(path)) == len(expected)


def test_the_transform_puts_steps_and_neurons_into_the_frame() -> None:
    y = np.zeros((50, 1, 8), np.float32)
    y[49, 0, 7] = 1
    page = drawn(lif=y)
    [path] = page.paths("spikes")
    moved = re.fullmatch(r"translate\((\S+) (\S+)\) scale\((\S+) (\S+)\)", path["transform"])
    assert moved is not None
    x0, y0, across, up = map(float, moved.groups())
    frame = next(own for tag, own in page.elements if tag == "rect" and own["class"] == "frame")
    left, top, wide, high = (float(frame[key]) for key in ("x", "y", "width", "height"))
    assert x0 + 49.5 * across == pytest.approx(left + wide * 49.5 / 50, abs=0.1)
    assert y0 + 7.5 * up == pytest.approx(top + high * 0.5 / 8, abs=0.1)


def test_more_than_one_spike_at_once_is_thicker() -> None:
    y = np.zeros((4, 1, 2), np.float32)
    y[1, 0, 0], y[2, 0, 1] = 1, 2
    page = drawn(lif=y)
    [one], [many] = page.paths("spikes"), page.paths("spikes many")
    assert marks_of(one) == [(1, 0)]
    assert marks_of(many) == [(2, 1)]
    assert float(many["stroke-width"]) > float(one["stroke-width"])
    assert "2 neurons; 3 spikes" in page.text


def test_silent_empty_and_single_populations() -> None:
    page = drawn(a=np.zeros((5, 1, 3)), b=np.ones((1, 1, 1)), c=np.zeros((2, 1, 0)))
    assert "a 3 neurons, silent." in page.text
    assert "b 1 neuron; 1 spikes, 1 per neuron and step." in page.text
    assert "c 0 neurons, silent." in page.text
    [path] = page.paths("spikes")
    assert marks_of(path) == [(0, 0)]


def test_a_million_spikes_are_a_small_density() -> None:
    y = (np.random.default_rng(0).random((1000, 1, 2000)) < 0.5).astype(np.float32)
    y[:, 0, :1000] = 0
    start = time.perf_counter()
    page = drawn(lif=y)
    assert time.perf_counter() - start < 5
    assert not page.paths("spikes")
    [image] = [own for tag, own in page.elements if tag == "image"]
    assert image["href"].startswith("data:image/png;base64,")
    assert len(image["href"]) < 60_000
    assert "2,000 neurons, 1,000 silent" in page.text
    assert "Too many to draw one by one" in page.text


def test_spikes_of_a_page_are_bounded() -> None:
    y = (np.random.default_rng(0).random((500, 1, 100)) < 0.3).astype(np.float32)
    many = {f"lif{index}": y for index in range(MOST_PANELS + 5)}
    result = snnir.Result({}, many, stats(**many))
    [section] = run_sections(result, 1e-3)
    assert len(section.body) < 1_200_000
    page = Drawn(section.body)
    assert len(page.paths("spikes")) == 3  # 15,000 spikes each, 50,000 of a page
    assert "5 more are not drawn." in page.text
    assert f"lif{MOST_PANELS + 4}" in page.text  # the table has all of them


def test_axes_have_steps_and_seconds() -> None:
    page = drawn(1e-4, lif=np.ones((101, 1, 1)))
    assert "step02040" in page.text.replace(" ", "")
    assert "ms024" in page.text.replace(" ", "")
    assert "(10,000 Hz)" in page.text
    assert "Hz)" not in drawn(lif=np.ones((101, 1, 1))).text


def test_names_are_escaped() -> None:
    y = np.ones((3, 1, 2), np.float32)
    result = snnir.Result({HOSTILE: y}, {f"{HOSTILE}:v": y * 0.5}, stats(**{HOSTILE: y}))
    body = "".join(section.body for section in run_sections(result))
    assert "<script" not in body
    assert "\x1b" not in body
    names = [name for _, own in Drawn(body).elements for name in own]
    assert not [name for name in names if name.startswith("on")]


@pytest.mark.parametrize("sample", [-1, 2])
def test_a_sample_that_is_not_there(sample: int) -> None:
    with pytest.raises(snnir.SnnirError, match=r"SNN601.*batch of 2"):
        drawn(lif=np.zeros((3, 2, 1)), sample=sample)


def test_records_without_steps_and_samples_are_refused() -> None:
    with pytest.raises(snnir.SnnirError, match="SNN601"):
        drawn(lif=np.zeros(3))


# --- Traces --------------------------------------------------------------------------------------


def traces(**arrays: Any) -> Drawn:
    result = snnir.Result({}, {name.replace("_", ":"): y for name, y in arrays.items()})
    return Drawn("".join(section.body for section in run_sections(result, 1e-3)))


def points(path: dict[str, str]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path["d"])]


def test_a_trace_goes_through_its_values() -> None:
    values = np.array([0.0, 1.0, -1.0, 0.5])
    frame = Frame(0, 4, 10, 100)
    found = points({"d": line(frame, values, -1.0, 1.0)})
    assert [y for _, y in found] == [60, 10, 110, 35]
    assert [x for x, _ in found] == [float(number(frame.x(step))) for step in range(4)]


def test_a_long_trace_keeps_its_extremes() -> None:
    values = np.zeros(100_000)
    values[77_777], values[77_778] = 5.0, -5.0
    found = points({"d": line(Frame(0, len(values), 0, 100), values, -5.0, 5.0)})
    assert len(found) <= 2 * INNER
    assert min(y for _, y in found) == 0
    assert max(y for _, y in found) == 100


def test_a_long_trace_is_interrupted_where_it_is_no_number() -> None:
    values = np.zeros(50_000)
    values[20_000] = np.nan
    data = line(Frame(0, len(values), 0, 100), values, -1.0, 1.0)
    assert data.count("M") == 2


def test_a_frame_may_begin_at_a_later_step() -> None:
    frame = Frame(100, 50, 0, 100)
    moved = re.fullmatch(r"translate\((\S+) (\S+)\) scale\((\S+) (\S+)\)", frame.steps_and_rows(4))
    assert moved is not None
    x0, _, across, _ = map(float, moved.groups())
    assert x0 + 120.5 * across == pytest.approx(frame.x(120), abs=0.1)
    assert frame.axis().count("class='tick'") == 5


def test_what_is_not_finite_interrupts_a_trace() -> None:
    y = np.array([0.0, 1.0, np.nan, 2.0, np.inf, 3.0], np.float32).reshape(6, 1, 1)
    page = traces(lif_v=y)
    [path] = page.paths("trace k0")
    assert path["d"].count("M") == 3
    assert "nan" not in path["d"]
    assert "2 values are not finite" in page.text
    [path] = traces(lif_v=np.full((4, 1, 1), np.nan)).paths("trace k0")
    assert path["d"] == ""


def test_huge_values_and_constants_are_drawn() -> None:
    for y in (np.array([1e38, -3e38, 3e38]), np.full(3, 7.0), np.array([-1.7e308, 1.7e308, 0])):
        [path] = traces(lif_v=y.reshape(3, 1, 1)).paths("trace k0")
        assert len(points(path)) == 3


def test_the_neurons_that_move_most_are_shown() -> None:
    y = np.zeros((10, 1, 40))
    y[5, 0, ::3] = np.arange(14) + 1.0
    page = traces(lif_v=y)
    lines = [own for tag, own in page.elements if own.get("class", "").startswith("trace")]
    assert len(lines) == MOST_TRACES
    assert "The 12 of 40 neurons that move most." in page.text
    assert "neuron 39" in page.text
    assert "neuron 3\u2014" not in page.text


def test_many_long_runs_stay_small() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((3000, 1, 64)) < 0.4).astype(np.float32)
    v = rng.random((3000, 1, 64), np.float32)
    many = {f"lif{index}": y for index in range(MOST_PANELS)}
    states = {f"lif{index}:v": v for index in range(MOST_PANELS)}
    result = snnir.Result({}, many | states, stats(**many))
    assert sum(len(section.body) for section in run_sections(result, 1e-3)) < 1_800_000


def test_ticks_are_few_and_round() -> None:
    for span in (1, 7, 10, 99, 1234, 1e-9, 3e12):
        every = nice(span, 8)
        assert span / every <= 8
        assert f"{every:e}"[0] in "125"


# --- Pages ---------------------------------------------------------------------------------------


def test_activity_shows_the_run_in_which_it_was_counted(tmp_path: Path) -> None:
    x = spikes((40, 2, 3), 0.5)
    counted = snnir.activity(feed_forward(), x)
    text = snnir.report(feed_forward(), tmp_path / "a.html", activity=counted).read_text("utf-8")
    page = Drawn(text)
    one, two = page.paths("spikes")
    assert set(marks_of(one)) == {(int(t), int(n)) for t, n in np.argwhere(x[:, 0])}
    lif = snnir.run(feed_forward(), x, ["lif"]).recorded["lif"]
    assert set(marks_of(two)) == {(int(t), int(n)) for t, n in np.argwhere(lif[:, 0])}
    made = snnir.compile(feed_forward())
    assert "Spikes of a run" in (made.save(tmp_path / "out", counted) / "report.html").read_text()


def test_a_page_on_what_was_compiled_and_on_its_folder(tmp_path: Path) -> None:
    made = snnir.compile(recurrent())
    folder = made.save(tmp_path / "out")
    result = made.run(spikes((20, 1, 3), 0.5), ["lif", "lif:v"])
    one = snnir.report(made, tmp_path / "a.html", result=result).read_text("utf-8")
    two = snnir.report(folder, tmp_path / "b.html", result=result).read_text("utf-8")
    for text in (one, two):
        assert "Spikes of a run" in text
        assert "lif:v" in text
    own = snnir.report(folder, tmp_path / "c.html").read_bytes()
    assert own == (folder / "report.html").read_bytes()
    (folder / "report.html").write_text("<script>changed</script>")
    with pytest.raises(snnir.SnnirError, match=r"SNN502.*altered"):
        snnir.report(folder, tmp_path / "d.html")
    assert not (tmp_path / "d.html").exists()


def test_of_several_runs_of_a_folder_the_first_is_drawn(tmp_path: Path) -> None:
    folder = snnir.compile(feed_forward()).save(tmp_path / "out")
    y = np.stack([spikes((9, 2, 4), 0.3, seed) for seed in range(3)])
    result = snnir.Result({"output": y}, {"lif": y}, stats(lif=y[0]))
    page = Drawn(snnir.report(folder, tmp_path / "a.html", result=result).read_text("utf-8"))
    [path] = page.paths("spikes")
    assert set(marks_of(path)) == {(int(t), int(n)) for t, n in np.argwhere(y[0, :, 0])}


def test_reports_refuse_what_they_cannot_show(tmp_path: Path) -> None:
    path: Any = tmp_path / "a.html"
    with pytest.raises(snnir.SnnirError, match=r"SNN601.*int"):
        snnir.report(3, path)  # type: ignore[arg-type]
    with pytest.raises(snnir.SnnirError, match=r"SNN502"):
        snnir.report(tmp_path, path)
    counted = snnir.activity(feed_forward(), spikes((5, 1, 3)))
    with pytest.raises(TypeError, match="give a result"):
        snnir.report(tmp_path, path, activity=counted)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.snnir"
    snnir.save(feed_forward(), path)
    return path


def test_run_writes_a_page(model: Path, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    done = cli("run", model, "--poisson", 0.5, "--steps", 20, "--report", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text("utf-8")
    for part in ("Spikes of a run", "lif:v", "per neuron and step"):
        assert part in text
    folder = snnir.compile(feed_forward()).save(tmp_path / "out")
    done = cli("run", folder, "--poisson", 0.5, "--report", tmp_path / "f.html")
    assert done.returncode == 0, done.stderr
    assert "Spikes of a run" in (tmp_path / "f.html").read_text("utf-8")
    done = cli("inspect", folder, "--format", "html", "-o", tmp_path / "i.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "i.html").read_bytes() == (folder / "report.html").read_bytes()


def test_wrong_arguments_of_pages(model: Path, tmp_path: Path) -> None:
    for words, code in (
        (("run", model, "--poisson", 0.5, "--report", tmp_path / "a.pdf"), "SNN701"),
        (("run", model, "--poisson", 0.5, "--report", "/dev/null/a.html"), "SNN702"),
        (("inspect", model, "--format", "html", "-o", tmp_path / "a"), "SNN701"),
    ):
        done = cli(*words)
        assert done.returncode == 1, words
        assert code in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("a*"))
    with pytest.raises(snnir.SnnirError, match=r"SNN702.*folder"):
        snnir.check_page(make_folder(tmp_path / "b.html"))


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_membranes_are_recorded_unasked_if_they_are_few() -> None:
    discrete = snnir.compile(feed_forward(), level=0).graph
    assert snnir.membranes(discrete) == {"lif:v": 4}
    assert _membranes(discrete, np.zeros((10, 2, 3))) == ["lif:v"]
    assert _membranes(discrete, {"input": np.zeros((10, 3))}) == ["lif:v"]
    assert not _membranes(discrete, np.broadcast_to(np.float32(0), (1 << 20, 2, 3)))
