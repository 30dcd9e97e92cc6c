"""Builds the vendor's simulator from `config.json`; goes into folders as it is.

    python load_xylosim.py INPUT.npy OUT.npz

Needs NumPy and `pip install xylosim`. INPUT is [time, channels], whole numbers of events from 0 to
15, channels in the order of the inputs in `config.json`. OUT has the readout's spikes and, of both
blocks, spikes, membranes and currents. `model.py` gives the same without `xylosim`.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import numpy as np

SYNAPSES = ("synapses_in", "synapses_rec", "synapses_out")
NUMBERS = (
    "aliases", "threshold", "threshold_out", "has_bias", "bias", "bias_out", "weight_shift_inp",
    "weight_shift_rec", "weight_shift_out", "dash_mem", "dash_mem_out", "dash_syns",
    "dash_syns_out",
)  # fmt: skip
#: Traces, and the attributes of the layer that hold them as [neurons][steps].
TRACES = {
    "v": "rec_v_mem", "i": "rec_i_syn", "i2": "rec_i_syn2", "v_out": "rec_v_mem_out",
    "i_out": "rec_i_syn_out",
}  # fmt: skip


def layer_of(config: dict[str, Any]) -> tuple[Any, Any]:
    """Return the vendor's layer, and what must be kept for as long as it is used.

    The layer holds raw pointers to the synapses it is given: without a reference to them the
    process ends at some later step.
    """
    from xylosim.v2 import XyloLayer, XyloSynapse

    kept = {key: [[XyloSynapse(*each) for each in row] for row in config[key]] for key in SYNAPSES}
    return XyloLayer(**kept, **{key: config[key] for key in NUMBERS}, name="snnir"), kept


def run(config: dict[str, Any], events: list[list[int]]) -> dict[str, Any]:
    """Return traces [time, neurons] by name."""
    layer, kept = layer_of(config)
    found = {"spikes_out": np.array(layer.evolve(events), np.int64)}
    found["spikes"] = np.array(layer.rec_recurrent_spikes, np.int64)
    for name, attribute in TRACES.items():
        if name != "i2" or len(config["dash_syns"][0]) > 1:
            found[name] = np.array(getattr(layer, attribute), np.int64).T
    del kept
    return found


if __name__ == "__main__":
    folder = pathlib.Path(__file__).parent
    whole = np.load(sys.argv[1], allow_pickle=False).astype(int).tolist()
    np.savez(sys.argv[2], **run(json.loads((folder / "config.json").read_text("utf-8")), whole))
