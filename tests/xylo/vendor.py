"""Runs configurations with SynSense's simulator; called in a process of its own.

    python vendor.py CASES.json TRACES.npz

It keeps raw pointers to the synapses it is given: the lists must outlive the layer.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

TRACES = {
    "spikes": "rec_recurrent_spikes", "v": "rec_v_mem", "i": "rec_i_syn", "i2": "rec_i_syn2",
    "v_out": "rec_v_mem_out", "i_out": "rec_i_syn_out",
}  # fmt: skip


def traces(config: dict[str, Any], events: list[list[int]]) -> dict[str, Any]:
    from xylosim.v2 import XyloLayer, XyloSynapse

    keys = ("synapses_in", "synapses_rec", "synapses_out")
    synapses = {
        key: [[XyloSynapse(*connection) for connection in row] for row in config[key]]
        for key in keys
    }
    numbers = (
        "aliases", "threshold", "threshold_out", "has_bias", "bias", "bias_out",
        "weight_shift_inp", "weight_shift_rec", "weight_shift_out", "dash_mem", "dash_mem_out",
        "dash_syns", "dash_syns_out",
    )  # fmt: skip
    layer = XyloLayer(**synapses, **{key: config[key] for key in numbers}, name="layer")
    found = {"spikes_out": np.array(layer.evolve(events), np.int64)}
    for name, attribute in TRACES.items():
        if name == "i2" and len(config["dash_syns"][0]) < 2:
            continue
        values = np.array(getattr(layer, attribute), np.int64)
        found[name] = values if name == "spikes" else values.T
    return found


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    arrays = {}
    for number, case in enumerate(cases):
        for name, values in traces(case["config"], case["events"]).items():
            arrays[f"{number}/{name}"] = values
    np.savez(sys.argv[2], **arrays)


if __name__ == "__main__":
    main()
