"""An artefact written by hand from `docs/bss2-format.md`: small, and with something of everything."""

from __future__ import annotations

from typing import Any

import numpy as np

Json = dict[str, Any]

#: What it connects, read off the comments below.
MATRICES = {
    ("in", "hid"): np.array([[10, -70, 0], [0, 4, 20]]),
    ("one", "hid"): np.array([[0], [-30]]),
    ("hid", "hid"): np.array([[0, 12], [15, 0]]),
    ("hid", "out"): np.array([[-9, 0], [0, 0]]),
}
ALL_BITS = 0x3FFF


def neuron(population: str, index: int, circuits: list[int], **others: Any) -> Json:
    return {
        "population": population,
        "index": index,
        "circuits": circuits,
        "address": 0,
        "leak": 80,
        "reset": 70,
        "threshold": 150,
        "tau_mem": 10,
        "tau_syn": [5, 5.5],
        "membrane_capacitance": 63,
        "refractory_time": 2.0,
        "refractory_clock": "fast",
        "refractory_count": 16,
        "holdoff_count": 1,
        **others,
    }


def lists(source: str, target: str) -> Json:
    post, pre = np.nonzero(MATRICES[source, target])
    weight = MATRICES[source, target][post, pre]
    return {
        "source": source,
        "target": target,
        "pre": pre.tolist(),
        "post": post.tolist(),
        "weight": weight.tolist(),
    }


def first() -> Json:
    """Two neurons that excite each other, three channels and a generator."""
    # hemisphere, row, column, weight, label
    synapses = [
        [0, 4, 5, 10, 1],  # in[0] to hid[0]: bus 2, driver 2
        [0, 5, 5, 63, 2],  # in[1] to hid[0], inhibitory
        [0, 12, 5, 7, 2],  # the rest of it: bus 2, driver 6
        [0, 4, 40, 4, 2],  # in[1] to hid[1], at its circuit of the other hemisphere
        [1, 6, 41, 20, 41],  # in[2] to hid[1]: bus 3 of hemisphere 1, driver 3
        [1, 251, 40, 30, 8],  # one to hid[1]: bus 1 of hemisphere 1, driver 125
        [1, 0, 40, 15, 3],  # hid[0] to hid[1]: bus 0 of hemisphere 1, driver 0
        [0, 42, 5, 12, 7],  # hid[1] to hid[0]: bus 1 of hemisphere 0, driver 21
    ]
    names = ("hemisphere", "row", "column", "weight", "label")
    return {
        "id": 0,
        "clocks": {"fast": 4, "slow": 8},
        "neurons": [
            neuron("hid", 0, [5], address=3),
            neuron("hid", 1, [296, 297, 40], address=7, threshold=140.5),
        ],
        "events": [
            {"population": "in", "index": 0, "labels": [1]},
            {"population": "in", "index": 1, "labels": [2]},
            {"population": "in", "index": 2, "labels": [1 << 14 | 41]},
        ],
        "background": [
            {"bus": 5, "label": 31 << 6 | 8, "period_ticks": 250, "start_ticks": 13,
             "population": "one", "index": 0}
        ],
        "rows": [
            [0, 4, "excitatory"], [0, 5, "inhibitory"], [0, 12, "inhibitory"],
            [0, 42, "excitatory"], [1, 0, "excitatory"], [1, 6, "excitatory"],
            [1, 251, "inhibitory"],
        ],
        # Drivers 6 and 21 have numbers 1 and 5 on their buses, and take addresses 0 and 4.
        "drivers": [[0, 2, 31], [0, 6, 30], [0, 21, 30], [1, 0, 31], [1, 3, 31], [1, 125, 31]],
        "synapses": dict(zip(names, map(list, zip(*synapses, strict=True)), strict=True)),
        "crossbar": [
            [0, 4, ALL_BITS, 3], [0, 8, ALL_BITS, 3],
            [1, 1, ALL_BITS, 7 | 1 << 8], [1, 9, ALL_BITS, 7 | 1 << 8],
            [8, 2, ALL_BITS ^ 3, 0], [9, 7, ALL_BITS, 41], [17, 5, ALL_BITS, 31 << 6 | 8],
        ],
        "projections": [lists("in", "hid"), lists("one", "hid"), lists("hid", "hid")],
    }  # fmt: skip


def second() -> Json:
    """What was recorded of hid[0] is sent to out[0], by link 2."""
    return {
        "id": 1,
        "clocks": {"fast": 4, "slow": 8},
        "neurons": [
            neuron("out", index, [index], threshold=None, refractory_time=0, refractory_count=0,
                   holdoff_count=0)
            for index in range(2)
        ],
        "events": [{"population": "hid", "index": 0, "labels": [2 << 14 | 5]}],
        "background": [],
        "rows": [[0, 1, "inhibitory"]],
        "drivers": [[0, 0, 31]],
        "synapses": {"hemisphere": [0], "row": [1], "column": [0], "weight": [9], "label": [5]},
        "crossbar": [[10, 0, ALL_BITS, 5]],
        "projections": [lists("hid", "out")],
    }  # fmt: skip


def artefact() -> Json:
    """Return it all, anew at each call."""
    scale: Json = {"offset": [0.0, 0.5], "factor": [1.0, 0.25]}
    return {
        "schema": "snnir.bss2/1",
        "meta": {
            "chip": "hicann-x-v3",
            "model": "by hand",
            "source_sha256": None,
            "snnir": "0",
            "speedup": 1000,
            "step_ticks": 125,
            "latency_ticks": 10,
            "gain": 0.1,
            "gain_nominal": True,
        },
        "global": {"i_synin_gm": [500, 500], "synapse_dac_bias": 1000},
        "populations": [
            {"name": "in", "size": 3, "shape": [3], "kind": "input"},
            {"name": "one", "size": 1, "shape": [1], "kind": "constant", "period_ticks": 250,
             "start_ticks": 12.5},
            {"name": "hid", "size": 2, "shape": [2], "kind": "neurons", "spiking": True, **scale},
            {"name": "out", "size": 2, "shape": [2], "kind": "neurons", "spiking": False, **scale},
        ],
        "inputs": [{"name": "x", "population": "in", "shape": [3]}],
        "outputs": [
            {"name": "y", "population": "out", "shape": [2], "kind": "membrane"},
            {"name": "h", "population": "hid", "shape": [2], "kind": "spikes"},
        ],
        "executions": [first(), second()],
        "report": {},
    }  # fmt: skip
