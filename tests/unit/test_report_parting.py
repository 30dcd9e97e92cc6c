"""Pages on comparisons: what they keep, where the first difference is drawn, what follows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.diffing import Diff
from snnir.ir import Graph, Input, Linear, Signal
from snnir.reporting.parting import DIFFERS, FIRST, FOLLOWS, SAME, roles_of
from tests.helpers import cli, dyadic, graph, lif_step, spikes
from tests.unit.test_report_runs import HOSTILE, Drawn

X = spikes((120, 2, 6), 0.4)


def two_paths(changed: float = 0.0, name: str = "left") -> Graph:
    """Two populations beside each other and one after both; weights of the left one may differ."""
    left = dyadic((4, 6), 1)
    left[2, 3] += changed
    return graph(
        {
            "input": (Input(Signal(snnir.Kind.SPIKES, (6,))), []),
            "fc": (Linear(snnir.tensor(left)), ["input"]),
            name: (lif_step(), ["fc"]),
            "other": (Linear(snnir.tensor(dyadic((5, 6), 2))), ["input"]),
            "right": (lif_step(), ["other"]),
            "last": (Linear(snnir.tensor(dyadic((3, 4), 3))), [name]),
            "end": (lif_step(), ["last"]),
        },
        "end",
        dt=1e-3,
    )


def parted(x: Any = X) -> Diff:
    found = snnir.diff(two_paths(), two_paths(0.25), x, membranes=True)
    assert found.first is not None
    return found


def first_of(found: Diff) -> snnir.diffing.NodeDiff:
    assert found.first is not None
    return found.first


def test_windows_hold_both_runs_around_the_first_difference() -> None:
    found, names = parted(), ["left", "right", "end"]
    one, two = (snnir.run(g, X, names).recorded for g in (two_paths(), two_paths(0.25)))
    first = first_of(found)
    own = found.windows[first.node]
    assert first.node == "left"
    assert (own.step, own.sample, own.shape) == (first.first_step, first.index[0], (4,))
    assert int(own.neurons[0]) == first.index[1]
    stop = own.start + len(own.a)
    for values, trace in ((own.a, one), (own.b, two)):
        np.testing.assert_array_equal(
            values, trace["left"][own.start : stop, own.sample][:, own.neurons]
        )
    assert not (one["left"][: own.step] != two["left"][: own.step]).any()
    for name, count in found.spread.items():
        recorded = name.replace("output:output", "end")
        expected = (one[recorded] != two[recorded]).sum(axis=(1, 2))
        np.testing.assert_array_equal(count, expected)
    assert "right" not in found.windows


def test_the_membrane_of_the_neuron_that_parts_is_known() -> None:
    found = parted()
    own, state = found.windows["left"], found.states["left:v"]
    neuron, stop = int(own.neurons[0]), own.start + len(own.a)
    for values, model in ((state.a, two_paths()), (state.b, two_paths(0.25))):
        trace = snnir.run(model, X, ["left:v"]).recorded["left:v"]
        expected = trace[own.start : stop, own.sample, neuron]
        np.testing.assert_array_equal(values[:, 0], expected)
    assert not snnir.diff(two_paths(), two_paths(0.25), X).states


def test_windows_are_bounded_however_large_the_runs_are(tmp_path: Path) -> None:
    y = np.zeros((300, 1, 5000), np.float32)
    np.savez(tmp_path / "a.npz", lif=y)
    y[200:] = 1
    np.savez(tmp_path / "b.npz", lif=y)
    found = snnir.diff(tmp_path / "a.npz", tmp_path / "b.npz")
    own = found.windows["lif"]
    assert own.a.shape == (97, 32)
    assert own.step == 200
    assert own.neurons.tolist() == list(range(32))
    assert len(snnir.report(found, tmp_path / "d.html").read_text("utf-8")) < 400_000


def test_what_follows_is_told_from_what_differs_as_well() -> None:
    roles = roles_of(parted())
    assert roles == {"left": FIRST, "right": SAME, "end": FOLLOWS, "output:output": FOLLOWS}
    both = two_paths(0.25)
    changed = Linear(snnir.tensor(dyadic((5, 6), 7)))
    both = replace(both, nodes={**both.nodes, "other": replace(both["other"], op=changed)})
    roles = roles_of(snnir.diff(two_paths(), both, X))
    assert roles["right"] == FIRST  # nothing reads it
    assert {role for name, role in roles.items() if name != "right"} == {DIFFERS}


def page_of(found: Any, folder: Path) -> Drawn:
    return Drawn(snnir.report(found, folder / "d.html").read_text("utf-8"))


def test_the_page_draws_the_first_difference(tmp_path: Path) -> None:
    found = parted()
    page, first, own = page_of(found, tmp_path), first_of(found), found.windows["left"]
    words = f"at step {first.first_step} ({(first.first_step or 0) * 1e-3:.6g} s), sample "
    assert words + f"{own.sample}, neuron {first.index[1]}: " in page.text
    ring = next(own for tag, own in page.elements if tag == "circle" and own["class"] == "first")
    left, width = 150, 900 - 16 - 150
    x = left + (own.step - own.start + 0.5) * width / len(own.a)
    assert float(ring["cx"]) == pytest.approx(x, abs=0.01)
    kinds = {"both": (own.a == own.b) & (own.a > 0), "only-a": own.a > own.b,
             "only-b": own.a < own.b}  # fmt: skip
    for kind, where in kinds.items():
        drawn = page.paths(kind)[:1]
        starts = re.findall(r"M([\d.]+) ([\d.]+)", drawn[0]["d"]) if drawn else []
        expected = [
            (round(left + (step + 0.5) * width / len(own.a), 2), 20 + (row + 0.5) * 15)
            for step, row in np.argwhere(where).tolist()
        ]
        found_at = np.array([(float(a), float(b)) for a, b in starts]).reshape(-1, 2)
        np.testing.assert_allclose(found_at, np.array(expected).reshape(-1, 2), atol=0.011)
    assert page.paths("trace side-a")
    assert page.paths("trace side-b")
    assert '"mark":["first","parts first"]' in (tmp_path / "d.html").read_text("utf-8")


def test_nothing_differs(tmp_path: Path) -> None:
    page = page_of(snnir.diff(two_paths(), two_paths(), X), tmp_path)
    assert "Nowhere: all" in page.text
    assert FIRST not in page.text.split("Where they part")[0]


def test_values_that_are_not_finite_and_a_single_step(tmp_path: Path) -> None:
    one = np.array([np.nan, np.inf, -np.inf, 1e38], np.float32).reshape(1, 1, 4)
    np.savez(tmp_path / "a.npz", y=one)
    np.savez(tmp_path / "b.npz", y=np.zeros((1, 1, 4), np.float32))
    found = snnir.diff(tmp_path / "a.npz", tmp_path / "b.npz")
    page = page_of(found, tmp_path)
    assert "step 0, sample 0, neuron 0: nan in a, 0 in b" in page.text
    assert "nan" not in "".join(path["d"] for path in page.paths("trace side-a"))


def test_names_are_escaped(tmp_path: Path) -> None:
    found = snnir.diff(two_paths(0, HOSTILE), two_paths(0.25, HOSTILE), X, membranes=True)
    page = page_of(replace(found, sides=(HOSTILE, HOSTILE)), tmp_path)
    scripts = [own for tag, own in page.elements if tag == "script"]
    assert len(scripts) == 2
    text = (tmp_path / "d.html").read_text("utf-8")
    assert "\x1b" not in text
    assert "<script>alert" not in text


def test_diff_writes_a_page(tmp_path: Path) -> None:
    for name, model in (("a", two_paths()), ("b", two_paths(0.25))):
        snnir.save(model, tmp_path / f"{name}.snnir")
    page = tmp_path / "d.html"
    done = cli(
        "diff", tmp_path / "a.snnir", tmp_path / "b.snnir", "--poisson", 0.4, "--report", page
    )
    assert done.returncode == 1, done.stderr
    drawn = Drawn(page.read_text("utf-8"))
    assert "a.snnir and b.snnir" in drawn.text
    assert "left:v of neuron" in drawn.text
    np.savez(tmp_path / "a.npz", lif=X)
    done = cli("diff", tmp_path / "a.npz", tmp_path / "a.npz", "--report", page)
    assert done.returncode == 0, done.stderr
    assert "Nowhere: all" in Drawn(page.read_text("utf-8")).text


def test_a_comparison_with_continuous_time_has_its_page(tmp_path: Path) -> None:
    given = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.4, "v_reset": 0.0}
    from tests.helpers import continuous

    x = np.ones((40, 1, 1), np.float32)
    found = snnir.diff(continuous("lif", **given), x, against="events")
    page = page_of(found, tmp_path)
    assert "Steps and continuous time" in page.text
    assert "matched" in page.text
    with pytest.raises(TypeError, match="own runs"):
        snnir.report(found, tmp_path / "e.html", result=snnir.Result({}))
