"""Random configurations, extreme on purpose: saturation, wrap-around, every decay."""

from __future__ import annotations

from typing import Any

import numpy as np


def case(seed: int, largest: int = 40, steps: int = 60) -> dict[str, Any]:
    """Return a configuration as `config.json` holds it, and events [T][channels]."""
    rng = np.random.default_rng(seed)
    channels, hidden = int(rng.integers(1, 17)), int(rng.integers(1, largest))
    outputs, synapses = int(rng.integers(1, 9)), int(rng.integers(1, 3))
    highest_dash = int(rng.choice([4, 8, 16]))
    shifts = int(rng.choice([4, 9]))

    def dashes(*shape: int) -> list[Any]:
        found: list[Any] = rng.integers(int(rng.random() < 0.5), highest_dash, shape).tolist()
        return found

    def weights(sources: int, targets: int, per: int, high: int) -> list[Any]:
        density = rng.random()
        whole = rng.integers(-high, high, (sources, targets, per))
        whole *= rng.random(whole.shape) < density
        return [
            [[int(t), int(s), int(row[t, s])] for s in range(per) for t in range(targets)
             if row[t, s]]
            for row in whole
        ]  # fmt: skip

    scale = int(rng.choice([1, 100]))
    config = {
        "format": 1,
        "chip": "xylo-audio-2",
        "inputs": [{"name": "x", "block": "input", "first": 0, "shape": [channels]}],
        "outputs": [{"name": "y", "block": "readout", "first": 0, "shape": [outputs]}],
        "populations": [
            {"name": "hidden", "block": "hidden", "first": 0, "shape": [hidden]},
            {"name": "readout", "block": "readout", "first": 0, "shape": [outputs]},
        ],
        "synapses_in": weights(channels, hidden, synapses, 128),
        "synapses_rec": weights(hidden, hidden, synapses, int(rng.choice([20, 128]))),
        "synapses_out": weights(hidden, outputs, 1, 128),
        "aliases": [[] for _ in range(hidden)],
        "threshold": rng.integers(1, rng.choice([50, 2000, 32768]), hidden).tolist(),
        "threshold_out": rng.integers(1, rng.choice([50, 3000]), outputs).tolist(),
        "has_bias": bool(rng.integers(2)),
        "bias": (rng.integers(-50, 200, hidden) * scale).tolist(),
        "bias_out": rng.integers(-50, 200, outputs).tolist(),
        "weight_shift_inp": int(rng.integers(0, shifts)),
        "weight_shift_rec": int(rng.integers(0, shifts)),
        "weight_shift_out": int(rng.integers(0, shifts)),
        "dash_mem": dashes(hidden),
        "dash_mem_out": dashes(outputs),
        "dash_syns": dashes(hidden, synapses),
        "dash_syns_out": dashes(outputs, 1),
    }
    events = rng.integers(0, rng.choice([2, 4, 16]), (steps, channels))
    events *= rng.random(events.shape) < rng.random()
    return {"config": config, "events": events.tolist()}
