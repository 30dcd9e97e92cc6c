"""Ticks and steps of the scripts."""

from __future__ import annotations

import ast
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnir.targets.bss2.scripts.files import script_files
from snnir.targets.bss2.scripts.script_io import (
    constant_train,
    counts,
    input_trains,
    nearest,
    sent_counts,
    step_of,
)


@pytest.mark.parametrize("tick", [11, 22, 33])
@pytest.mark.parametrize("step_ticks", [1.1, 2.2, 12.5])
def test_steps_at_their_edges(tick: int, step_ticks: float) -> None:
    step = step_of(tick, step_ticks)
    assert step * step_ticks <= tick < (step + 1) * step_ticks


@given(st.integers(0, 10**6), st.floats(0.01, 1e5))
def test_steps(tick: int, step_ticks: float) -> None:
    step = step_of(tick, step_ticks)
    assert step * step_ticks <= tick < (step + 1) * step_ticks


@pytest.mark.parametrize(("value", "whole"), [(0.5, 1), (1.5, 2), (2.5, 3), (2.4999, 2), (-0.5, 0)])
def test_halves_are_rounded_up(value: float, whole: int) -> None:
    assert nearest(value) == whole


@given(st.floats(0, 500), st.floats(0.5, 300), st.integers(0, 3000))
def test_constants_end(start: float, period: float, end: int) -> None:
    population: dict[str, Any] = {"start_ticks": start, "period_ticks": period}
    expected = []
    for k in range(7000):
        tick = int((Fraction(start + k * period) + Fraction(1, 2)) // 1)
        if tick < end:
            expected.append(tick)
    assert constant_train(population, end) == expected


def test_events_of_inputs() -> None:
    values = np.zeros((5, 2))
    values[[0, 3], 0], values[4, 1] = (1, 2), 1
    assert input_trains("x", values, 0.5) == [[0, 2, 2], [2]]
    for bad in (-1, 0.5, 65536, np.inf, np.nan):
        with pytest.raises(SystemExit, match="input 'x'"):
            input_trains("x", np.full((2, 2), bad), 1.0)


@given(st.floats(1, 200), st.integers(1, 60), st.integers(1, 7))
def test_constants_belong_to_steps(step_ticks: float, steps: int, every: int) -> None:
    train = [nearest(k * step_ticks) for k in range(0, steps + 5, every)]
    expected = [float(k % every == 0) for k in range(steps)]
    assert sent_counts(train, step_ticks, steps).tolist() == expected


def test_spikes_outside_are_not_counted() -> None:
    found = counts([[0, 9, 10, 10, 29], [30, -1]], 10.0, 3)
    np.testing.assert_array_equal(found, [[2, 0], [2, 0], [1, 0]])


def test_scripts_import_nothing_of_ours() -> None:
    files = script_files(hxtorch=True)
    assert set(files) == {"schema.json", "run_pynn.py", "run_hxtorch.py"}
    assert set(script_files()) == {"schema.json", "run_pynn.py"}
    for name in ("run_pynn.py", "run_hxtorch.py"):
        for node in ast.walk(ast.parse(files[name])):
            if isinstance(node, ast.Import | ast.ImportFrom):
                found = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                assert not any(one.startswith("snnir") for one in found)
