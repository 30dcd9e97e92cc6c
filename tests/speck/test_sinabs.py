"""Our configurations beside those of Sinabs' own mapper, field by field."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.helpers import ROOT

pytest.importorskip("sinabs")
pytestmark = [pytest.mark.framework, pytest.mark.slow]
#: Fields in which nothing may differ.
SAME = ("return_to_zero", "leak_enable", "biases")


@functools.cache
def configurations() -> Any:
    """Return both configurations of each network; Sinabs runs with a stand-in for samna."""
    command = [sys.executable, "-m", "tests.speck.sinabs_configs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pairs(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    both = configurations()[name]
    return list(zip(both["ours"]["layers"], both["theirs"]["layers"], strict=True))


@pytest.mark.parametrize("name", ["lenet", "strided", "branch"])
def test_fields_are_equal(name: str) -> None:
    both = configurations()[name]
    layer_of = [
        {core: index for index, core in enumerate(both[side]["cores"].values())}
        for side in ("ours", "theirs")
    ]
    for ours, theirs in pairs(name):
        assert all(ours[field] == theirs[field] for field in SAME)
        merged = name == "branch" and ours["dimensions"]["input_shape"]["feature_count"] == 8
        if not merged:
            assert ours["dimensions"] == theirs["dimensions"]
        used = [d for d in theirs.get("destinations", []) if d.get("enable")]
        found = [(layer_of[0][d["layer"]], d["pooling"]) for d in ours["destinations"]]
        assert found == [(layer_of[1][d["layer"]], d["pooling"]) for d in used]
        # Sinabs rounds in float32 what we round in float64.
        for field in ("threshold_high", "threshold_low"):
            assert abs(ours[field] - theirs[field]) <= 1
        if not merged:
            gap = np.abs(np.array(ours["weights"]) - np.array(theirs["weights"]))
            assert gap.max() <= 1
            assert (gap > 0).mean() < 0.002


@pytest.mark.parametrize("name", ["lenet", "strided", "branch"])
def test_cores_are_those_sinabs_would_take(name: str) -> None:
    both = configurations()[name]
    assert list(both["ours"]["cores"].values()) == list(both["theirs"]["cores"].values())
    for core, fits in zip(both["theirs"]["cores"].values(), both["ours"]["fits"], strict=True):
        assert core in fits


def test_what_differs_is_what_we_meant() -> None:
    *_, (ours, theirs) = pairs("lenet")
    # The last layer is seen by the host without being asked for.
    assert (ours["monitor_enable"], theirs["monitor_enable"]) == (True, False)
    *_, (ours, theirs) = pairs("branch")
    # Two sources of one core: Sinabs lets their channels overlap, which the validator of 2b
    # refuses; ours lie side by side, with the weights twice.
    assert theirs["dimensions"]["input_shape"]["feature_count"] == 4
    both = np.array(ours["weights"])
    assert np.array_equal(both[:, :4], both[:, 4:])
    assert np.abs(both[:, :4] - np.array(theirs["weights"])).max() <= 1
    first = configurations()["branch"]["ours"]["layers"]
    assert [d["feature_shift"] for d in first[0]["destinations"]] == [0, 0]
    assert [d["feature_shift"] for d in first[1]["destinations"]] == [4]
