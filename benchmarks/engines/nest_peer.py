"""NEST on dense workloads: its exact integrate-and-fire neuron with delta-shaped currents.

Give an interpreter that has it (`pip install nest-simulator`, and what snnir imports) as
`$NEST_PYTHON`. Its neuron fires at equality, hence the threshold just above ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.engines.workloads import BETA, JUST_ABOVE, Workload


def nest(work: Workload) -> Callable[[], Any]:
    """Return a run of the network; it is built once and goes on in time."""
    import nest as simulator

    if work.kind in ("conv", "recurrent") or work.train or work.x.shape[1] > 1:
        raise NotImplementedError("dense networks, one sample")
    simulator.set_verbosity("M_ERROR")
    simulator.ResetKernel()
    simulator.SetKernelStatus({"resolution": 1.0, "local_num_threads": 1})
    steps = len(work.x)
    inputs = simulator.Create("spike_generator", work.x.shape[2])
    inputs.set([{"spike_times": 1.0 + np.flatnonzero(x)} for x in work.x[:, 0].T])
    layers: list[Any] = []
    last = inputs
    for weight in work.weights:
        neuron = {
            "tau_m": -1 / np.log(BETA), "V_th": JUST_ABOVE, "V_reset": 0.0, "E_L": 0.0,
            "V_m": 0.0, "t_ref": 0.0,
        }  # fmt: skip
        layer = simulator.Create("iaf_psc_delta", weight.shape[1], params=neuron)
        synapses = {"weight": weight.T.astype(float), "delay": 1.0}
        simulator.Connect(last, layer, "all_to_all", synapses)
        layers.append(layer)
        last = layer
    recorder = simulator.Create("spike_recorder")
    simulator.Connect(last, recorder)
    first = int(last.global_id[0] if hasattr(last.global_id, "__len__") else last.global_id)

    def run() -> Any:
        begin = simulator.biological_time
        inputs.origin = begin
        recorder.n_events = 0
        for layer in layers:
            layer.V_m = 0.0
        simulator.Simulate(float(steps + len(layers) + 1))
        found = np.zeros((steps, 1, work.weights[-1].shape[1]), np.float32)
        events = recorder.events
        # An input spike of step 0 comes at 1 ms, and every layer of synapses takes another.
        times = np.rint(events["times"] - begin).astype(int) - 1 - len(layers)
        inside = (times >= 0) & (times < steps)
        found[times[inside], 0, np.asarray(events["senders"])[inside] - first] = 1
        return found

    return run
