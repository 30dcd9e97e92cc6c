"""Brian2 on dense workloads: compiled by Cython, or as a C++ program of its own.

Brian2 2.9 needs NumPy below 2.4: give an interpreter that has it (and what snnir imports) as
`$BRIAN2_PYTHON`. Steps are v = 15/16 v before the synapses of a step, so spikes are exact too.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.engines.workloads import BETA, THRESHOLD, Workload


def network(work: Workload) -> tuple[Any, Any]:
    """Return the network and the monitor of its last layer."""
    import brian2 as b

    if work.kind in ("conv", "recurrent") or work.train or work.x.shape[1] > 1:
        raise NotImplementedError("dense networks, one sample")
    b.defaultclock.dt = 1 * b.ms
    times, indices = np.nonzero(work.x[:, 0])
    parts: list[Any] = [b.SpikeGeneratorGroup(work.x.shape[2], indices, times * b.ms)]
    last = parts[0]
    for weight in work.weights:
        group = b.NeuronGroup(weight.shape[1], "v : 1", threshold=f"v > {THRESHOLD}", reset="v = 0")
        decay = group.run_regularly(f"v *= {BETA}", when="groups")
        synapses = b.Synapses(last, group, "w : 1", on_pre="v_post += w")
        synapses.connect(True)
        synapses.w = weight.ravel().astype(float)
        parts += [group, decay, synapses]
        last = group
    monitor = b.SpikeMonitor(last)
    net = b.Network(*parts, monitor)
    net.schedule = ["start", "groups", "synapses", "thresholds", "resets", "end"]
    return net, monitor


def spikes(work: Workload, monitor: Any) -> Any:
    """Return the spikes of a monitor as [T, 1, neurons]; every layer of synapses takes a step."""
    import brian2 as b

    found = np.zeros((len(work.x), 1, work.weights[-1].shape[1]), np.float32)
    steps = np.rint(np.asarray(monitor.t / b.ms)).astype(int) - len(work.weights)
    inside = (steps >= 0) & (steps < len(found))
    found[steps[inside], 0, np.asarray(monitor.i)[inside]] = 1
    return found


def cython(work: Workload) -> Callable[[], Any]:
    """Return a run of the network with Cython."""
    import brian2 as b

    b.prefs.codegen.target = "cython"
    net, monitor = network(work)
    net.store()

    def run() -> Any:
        net.restore()
        net.run((len(work.x) + len(work.weights)) * b.ms)
        return spikes(work, monitor)

    return run


def standalone(work: Workload) -> tuple[Any, float, float]:
    """Build a C++ program and run it; return the spikes, seconds to build, and seconds of a run."""
    import brian2 as b

    folder = tempfile.mkdtemp()
    begin = time.perf_counter()
    b.set_device("cpp_standalone", directory=folder, build_on_run=False)
    try:
        net, monitor = network(work)
        net.run((len(work.x) + len(work.weights)) * b.ms)
        b.device.build(run=False, directory=folder)
        built = time.perf_counter() - begin
        least = float("inf")
        for _ in range(3):
            b.device.run(with_output=False)
            least = min(least, b.device._last_run_time)
        return spikes(work, monitor), built, least
    finally:
        shutil.rmtree(folder, ignore_errors=True)
