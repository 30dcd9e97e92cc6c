"""Events per second of the target events, and what they depend on: ratios of one run.

x.py bench events [--neurons N] [--seconds S] [--repeat K]
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import snnir
from benchmarks._shown import shown
from snnir.events import Events
from snnir.ir import Add, Delay, FrozenDict, Graph, Input, Linear, Neuron, Node, Op, Signal, Value
from snnir.streams import Kind
from snnir.targets.events.build import build_network
from snnir.targets.events.host import Simulator
from snnir.tensors import Tensor

INPUTS, RATE = 50, 100.0


@dataclass(frozen=True)
class Case:
    """A recurrent network.

    Attributes:
        neurons: How many.
        fan_out: Synapses of a neuron.
        tau_syn: Of all, seconds; tau_mem is 20 ms.
        delay: Seconds, of all synapses.
    """

    neurons: int
    fan_out: int
    tau_syn: float = 5e-3
    delay: float = 1.5e-3

    def graph(self, seed: int = 0) -> Graph:
        """Return it: weights of both signs, 50 inputs to every neuron."""
        rng = np.random.default_rng(seed)
        inner = np.zeros((self.neurons, self.neurons), np.float32)
        for column in range(self.neurons):
            rows = rng.choice(self.neurons, self.fan_out, replace=False)
            inner[rows, column] = rng.normal(0, 4 / np.sqrt(self.fan_out), self.fan_out)
        given = {"tau_mem": 20e-3, "tau_syn": self.tau_syn, "r": 1.0, "v_leak": 0.0, "w_in": 1.0,
                 "v_threshold": 1.0, "v_reset": 0.0}  # fmt: skip
        params = FrozenDict({name: Tensor(np.float64(value)) for name, value in given.items()})
        ops: dict[str, tuple[Op, list[str]]] = {
            "x": (Input(Signal(Kind.SPIKES, (INPUTS,))), []),
            "in": (Linear(Tensor(rng.random((self.neurons, INPUTS), np.float32))), ["x"]),
            "late": (Delay(1, Tensor(np.float64(self.delay))), ["n"]),
            "rec": (Linear(Tensor(inner)), ["late"]),
            "sum": (Add(), ["in", "rec"]),
            "n": (Neuron("cubalif", params, snnir.Stepping(synapse_jump=True)), ["sum"]),
        }
        nodes = {n: Node(n, op, tuple(Value(s) for s in given)) for n, (op, given) in ops.items()}
        return Graph(nodes, {"y": Value("n")}, 1e-3)


@dataclass(frozen=True)
class Found:
    """What a run took.

    Attributes:
        spikes: Of neurons.
        delivered: Synapses that spikes went through.
        seconds: CPU time of the fastest repetition.
    """

    spikes: int
    delivered: int
    seconds: float

    @property
    def pace(self) -> float:
        """Spikes delivered per second."""
        return self.delivered / self.seconds


def measure(case: Case, duration: float, engine: str = "c", repeat: int = 3) -> Found:
    """Run a case on one core."""
    sim = Simulator(build_network(case.graph()), engine)
    rng = np.random.default_rng(1)
    count = int(INPUTS * RATE * duration)
    given: Any = {"x": Events(rng.random(count) * duration, rng.integers(0, INPUTS, count))}
    sim.run(given, 1, duration / 10)
    best = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        (trace,) = sim.run(given, 1, duration)
        best = min(best, time.process_time() - start)
    return Found(len(trace.time), trace.delivered, best)


def cases(neurons: int) -> Iterator[tuple[str, Case]]:
    """Yield what is measured, with names."""
    tenth = neurons // 10
    yield "10 %", Case(neurons, tenth)
    yield "10 %, tau_mem = 2 tau_syn", Case(neurons, tenth, 10e-3)
    yield "10 %, tau_mem = tau_syn", Case(neurons, tenth, 20e-3)
    yield "10 %, no delay", Case(neurons, tenth, delay=0.0)
    yield "dense", Case(neurons, neurons)
    yield "fan-out 10", Case(neurons, 10)
    yield "fan-out 400", Case(neurons, 400)
    yield "four times the neurons, same fan-out", Case(4 * neurons, tenth)


def beside_jaxsnn(neurons: int, slots: int, duration: float = 0.02) -> tuple[int, int, float]:
    """Run one dense recurrent network, tau_mem = 2 tau_syn, in jaxsnn and here.

    Args:
        neurons: How many.
        slots: Events that jaxsnn has room for; enough that it drops none.
        duration: Seconds.

    Returns:
        Spikes in jaxsnn (float32) and here, and its CPU time per spike over ours.
    """
    jax, modules, types, topology = (
        import_module(name)
        for name in ("jax", "jaxsnn.event.modules", "jaxsnn.event.types", "jaxsnn.event.topology")
    )
    own = modules.LIFParameters(v_reset=0.0, v_th=1.0, tau_syn=10e-3, tau_mem=20e-3)
    net = topology.Topology(t_max=duration)
    net.add({"x": modules.Source(INPUTS), "n": modules.LIF(neurons, slots, own)})
    net.add({"in": modules.Linear(), "rec": modules.Linear()})
    net.connect([("x", "in"), ("in", "n"), ("n", "rec"), ("rec", "n")])
    init, apply = net.done()
    rng, count = np.random.default_rng(1), int(INPUTS * RATE * duration)
    # jaxsnn's own draws depend on the order of Python's hashes.
    params = init(jax.random.PRNGKey(0))
    params["in"] = rng.normal(0.5, 0.28, (INPUTS, neurons)).astype(np.float32)
    params["rec"] = rng.normal(0, 4 / np.sqrt(neurons), (neurons, neurons)).astype(np.float32)
    when = np.sort(rng.random((1, count)) * duration).astype(np.float32)
    which = rng.integers(0, INPUTS, (1, count))
    zeros = np.zeros((1, count))
    given = types.Spike(when, which, zeros, zeros.astype(int), np.ones((1, count), bool))
    run = jax.jit(apply)
    jax.block_until_ready(run({"x": given}, params))
    start = time.process_time()
    theirs = jax.block_until_ready(run({"x": given}, params))["n"]
    took = time.process_time() - start
    if np.asarray(theirs.idx)[0, -1] != -1:
        raise SystemExit(f"{slots} slots are too few: jaxsnn drops events")
    case = Case(neurons, neurons, 10e-3, 0.0)
    weights = {name: Tensor(np.asarray(params[name]).T.copy()) for name in ("in", "rec")}
    editor = case.graph().edit()
    for name, weight in weights.items():
        editor.set_op(name, Linear(weight))
    sim = Simulator(build_network(editor.graph()), "c")
    events: Any = {"x": Events(when[0], which[0])}
    sim.run(events, 1, duration)
    start = time.process_time()
    (ours,) = sim.run(events, 1, duration)
    mine = time.process_time() - start
    spikes = int(np.asarray(theirs.internal).sum())
    return spikes, len(ours.time), (took / spikes) / (mine / len(ours.time))


def main() -> None:
    """Print a row per case, and the Python engine's."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.05, help="simulated")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    first: Found | None = None
    row = "{:38s} {:>9,} {:>12,} {:>8.3f} {:>10.3g} {:>10.3g} {:>8.2f}"
    print(f"{'':38s} {'spikes':>9} {'delivered':>12} {'s':>8} {'spikes/s':>10} {'deliv./s':>10} "
          "per delivery")  # fmt: skip
    for name, case in shown(cases(arguments.neurons)):
        found = measure(case, arguments.seconds, repeat=arguments.repeat)
        first = first or found
        paces = found.spikes / found.seconds, found.pace
        print(row.format(name, found.spikes, found.delivered, found.seconds, *paces,
                         first.pace / found.pace))  # fmt: skip
    assert first is not None
    slow = measure(Case(arguments.neurons, arguments.neurons // 10), arguments.seconds / 10,
                   "python", 1)  # fmt: skip
    paces = slow.spikes / slow.seconds, slow.pace
    if importlib.util.find_spec("jaxsnn") is not None:
        for size, slots in ((100, 3000), (400, 16000)):
            theirs, ours, ratio = beside_jaxsnn(size, slots)
            print(f"jaxsnn, {size} neurons, dense: {theirs:,} spikes (here {ours:,}), {ratio:.1f} "
                  "times the time per spike")  # fmt: skip
    print(row.format("10 %, in Python", slow.spikes, slow.delivered, slow.seconds, *paces,
                     first.pace / slow.pace))  # fmt: skip


if __name__ == "__main__":
    main()
