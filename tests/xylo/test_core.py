"""The emulated core is SynSense's simulator, bit for bit, and a plain reading of the semantics."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnir.targets.xylo.configuration import read_config
from snnir.targets.xylo.emulator import TRACES
from tests.helpers import ROOT
from tests.xylo import plain, vendor
from tests.xylo.cases import case

NETWORKS = 500
GOLDEN = ROOT / "tests" / "golden" / "xylo_traces.json"

needs_xylosim = pytest.mark.skipif(
    find_spec("xylosim") is None, reason="the vendor's simulator xylosim is not installed"
)


def emulated(case: dict[str, Any]) -> dict[str, Any]:
    core = read_config(json.dumps(case["config"])).core
    events = np.array(case["events"])[:, None]
    found = {n: a[:, 0] for n, a in core.run(events, core.start(1), list(TRACES)).items()}
    found["i_out"] = found["i_out"][..., 0]
    found |= {"i2": found["i"][..., 1]} if found["i"].shape[-1] > 1 else {}
    found["i"] = found["i"][..., 0]
    return found


def vendor_traces(cases: list[dict[str, Any]], scratch: Path) -> list[dict[str, Any]]:
    """Run cases in a process of their own: what is wrong in the vendor's code ends only that."""
    given, made = scratch / "cases.json", scratch / "traces.npz"
    given.write_text(json.dumps(cases), "utf-8")
    command = [sys.executable, vendor.__file__, str(given), str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = [{} for _ in cases]
    with np.load(made) as data:
        for key in data:
            number, name = key.split("/")
            found[int(number)][name] = data[key]
    return found


def assert_same(found: dict[str, Any], wanted: dict[str, Any], what: str) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, f"{what}: {name}")


@pytest.mark.slow
@pytest.mark.framework
@needs_xylosim
def test_random_networks_are_those_of_the_vendor(tmp_path: Path) -> None:
    """Spikes, membranes and currents of both blocks, both synapses."""
    cases = [case(seed) for seed in range(NETWORKS)]
    spikes = saturated = wrapped = 0
    for seed, (one, wanted) in enumerate(zip(cases, vendor_traces(cases, tmp_path), strict=True)):
        assert_same(emulated(one), wanted, f"network {seed}")
        spikes += int(wanted["spikes"].sum() + wanted["spikes_out"].sum())
        saturated += bool((np.abs(wanted["i"]) > 30_000).any())
        no_memory = np.array(one["config"]["dash_mem"]) == 0
        wrapped += bool((wanted["v"][:-1, no_memory] == -32768).any())
    # The networks do what is hard: they fire, saturate, and wrap around.
    assert spikes > 1_000_000
    assert saturated > 100
    assert wrapped > 10


@pytest.mark.framework
@needs_xylosim
def test_golden_traces_are_those_of_the_vendor(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cases = [case(seed, largest=6, steps=12) for seed in range(1000, 1008)]
    traces = [
        {name: values.tolist() for name, values in found.items()}
        for found in vendor_traces(cases, tmp_path)
    ]
    text = json.dumps([{**c, "traces": t} for c, t in zip(cases, traces, strict=True)])
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text + "\n", "utf-8")
    assert json.loads(GOLDEN.read_text("utf-8")) == json.loads(text)


def test_golden_traces() -> None:
    """Small networks with the vendor's traces, for machines without its simulator."""
    for number, kept in enumerate(json.loads(GOLDEN.read_text("utf-8"))):
        wanted = {name: np.array(values) for name, values in kept["traces"].items()}
        assert_same(emulated(kept), wanted, f"golden network {number}")


@given(st.integers(0, 2**32))
def test_a_plain_reading_gives_the_same(seed: int) -> None:
    one = case(seed, largest=8, steps=20)
    wanted: dict[str, Any] = {
        name: np.array(values) for name, values in plain.run(one["config"], one["events"]).items()
    }
    wanted["i_out"] = wanted["i_out"][..., 0]
    wanted |= {"i2": wanted["i"][..., 1]} if wanted["i"].shape[-1] > 1 else {}
    wanted["i"] = wanted["i"][..., 0]
    assert_same(emulated(one), wanted, f"network {seed}")


def test_samples_are_independent_and_runs_go_on() -> None:
    cases = [case(7), case(7)]
    core = read_config(json.dumps(cases[0]["config"])).core
    rng = np.random.default_rng(1)
    events = rng.integers(0, 16, (40, 3, len(cases[0]["events"][0])))
    together = core.run(events, core.start(3), list(TRACES))
    for sample in range(3):
        alone = core.run(events[:, sample : sample + 1], core.start(1), list(TRACES))
        for name, values in alone.items():
            np.testing.assert_array_equal(values[:, 0], together[name][:, sample], name)
    state = core.start(3)
    pieces = [core.run(part, state, ["v"]) for part in np.split(events, [13, 20])]
    np.testing.assert_array_equal(np.concatenate([p["v"] for p in pieces]), together["v"])
