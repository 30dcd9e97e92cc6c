"""BindsNET's own networks, in BindsNET and in our targets: `x.py bench from_bindsnet`.

Networks are built as BindsNET `Network` objects and given to `snnir.from_bindsnet`. Every engine
runs in a process of its own, on one pinned core; its spikes, and the weights it learns, are
compared with BindsNET's. Times are the least CPU time of several runs; the first, which compiles,
does not count.

- *poissonN*: the benchmark of the BindsNET paper (Hazan et al., Frontiers in Neuroinformatics
  12:89, 2018) as its text has it: N Poisson inputs at 0 to 100 Hz, N of BindsNET's LIF neurons, all
  pairs connected with normal weights, a second in steps of 1 ms. Weights are multiples of 1/32, so
  that sums do not depend on their order.
- *diehl-cook N*: `examples/diehl_cook` with N excitatory neurons, learning: 250 steps per image.

    x.py bench from_bindsnet [--engines A,B] [--networks poisson1000,...] [--json F]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks._shown import shown
from benchmarks.simulators import one_thread
from examples.diehl_cook.bindsnet_side import BindsnetLearner, bindsnet, network
from examples.diehl_cook.data import digits, spikes
from examples.diehl_cook.train import SnnirLearner

Array = npt.NDArray[Any]

ENGINES = ("bindsnet", "snnir-numpy", "snnir-torch", "snnir-xla", "snnir-native")
POISSON = ("poisson250", "poisson1000", "poisson2500", "poisson5000", "poisson10000")
LEARNING = ("diehl-cook 100", "diehl-cook 400", "diehl-cook 1600")
SEED = 1
#: Images of a learning network; the first does not count.
IMAGES = 6
#: Seconds after which an engine is given up.
LIMIT = 400


class Run(Protocol):
    """One engine on one network."""

    def __call__(self, number: int) -> Array:
        """Run input `number`; return the spikes, [steps, neurons]."""


# --- The network of the paper ---------------------------------------------------------------------


def paper(neurons: int) -> Any:
    """Return BindsNET's network of N inputs and N neurons."""
    import torch

    nodes, topology = bindsnet("network.nodes"), bindsnet("network.topology")
    net = bindsnet("network").Network(dt=1.0)
    net.add_layer(nodes.Input(n=neurons), "X")
    net.add_layer(nodes.LIFNodes(n=neurons), "Y")
    drawn = np.random.default_rng(SEED).normal(size=(neurons, neurons)) * 32
    weights = (np.clip(np.round(drawn), -127, 127) / 32).astype(np.float32)
    synapses = topology.Connection(net.layers["X"], net.layers["Y"], w=torch.from_numpy(weights))
    net.add_connection(synapses, "X", "Y")
    return net


def poisson(neurons: int, steps: int = 1000) -> Array:
    """Return Poisson spikes at 0 to 100 Hz, [steps, 1, neurons]."""
    rng = np.random.default_rng(SEED)
    rates = rng.random(neurons, dtype=np.float32) * np.float32(0.1)
    return (rng.random((steps, 1, neurons), dtype=np.float32) < rates).astype(np.float32)


def bindsnet_paper(neurons: int) -> Run:
    """Return BindsNET's run; inputs are copied, because its reset clears their last step."""
    import torch

    net, x = paper(neurons), poisson(neurons)
    monitor = bindsnet("network.monitors").Monitor(net.layers["Y"], ["s"], time=len(x))
    net.add_monitor(monitor, "spikes")

    def run(number: int) -> Array:
        net.reset_state_variables()
        net.run({"X": torch.from_numpy(x.copy())}, time=len(x))
        found: Array = monitor.get("s").reshape(len(x), -1).numpy()
        return found

    return run


def our_paper(neurons: int, target: str) -> Run:
    """Return the run of one of our targets."""
    import snnir

    made = snnir.compile(snnir.from_bindsnet(paper(neurons)), target, **options_of(target))
    x = {"X": poisson(neurons)}
    return lambda number: made.run(x).outputs["Y"][:, 0]


def options_of(target: str) -> dict[str, Any]:
    """Return what a target is told: sums of these weights are exact in float32."""
    return {"precision": "float32"} if target == "numpy" else {}


# --- The network that learns ----------------------------------------------------------------------


def learner(engine: str, neurons: int) -> Any:
    """Return the network of Diehl and Cook, to learn in BindsNET or in one of our targets."""
    import snnir

    net = network(neurons, SEED)
    if engine == "bindsnet":
        return BindsnetLearner(net, SEED)
    return SnnirLearner(snnir.from_bindsnet(net, seed=SEED), engine.removeprefix("snnir-"))


# --- In the child ---------------------------------------------------------------------------------


def child(engine: str, name: str, reference: str) -> dict[str, Any]:
    """Run one engine on one network; BindsNET's spikes and weights become the reference."""
    warnings.simplefilter("ignore")
    if engine in ("bindsnet", "snnir-torch"):
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    try:
        work = learning(engine, name) if name in LEARNING else inference(engine, name)
    except ImportError as missing:
        return {"absent": f"not installed ({missing.name})"}
    facts, found = work
    if engine == "bindsnet":
        np.savez(reference, **found)  # type: ignore[arg-type]
    else:
        want = np.load(reference)
        facts |= {f"{key}_differ": int((found[key] != want[key]).sum()) for key in found}
    return facts


def inference(engine: str, name: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Time a network that does not learn."""
    neurons = int(name.removeprefix("poisson"))
    started = time.perf_counter()
    if engine == "bindsnet":
        run = bindsnet_paper(neurons)
    else:
        run = our_paper(neurons, engine.removeprefix("snnir-"))
    output = run(0)
    first = time.perf_counter() - started
    least, steps = least_time(lambda: run(0)), len(output)
    return {"us": least / steps * 1e6, "first_s": first}, {"spikes": np.packbits(output > 0)}


def learning(engine: str, name: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Time a network that learns, over a few images after the first."""
    started = time.perf_counter()
    learns = learner(engine, int(name.rpartition(" ")[2]))
    images = list(spikes(digits()[0].first(IMAGES), SEED))
    answers, times = [learns.show(images[0])], []
    first = time.perf_counter() - started
    for x in images[1:]:
        begun = time.process_time()
        answers.append(learns.show(x))
        times.append(time.process_time() - begun)
    facts = {"us": min(times) / len(images[0]) * 1e6, "first_s": first}
    weights = np.ascontiguousarray(learns.weights()).view(np.int32)
    return facts, {"spikes": np.packbits(np.array(answers) > 0), "weights": weights}


def least_time(call: Callable[[], Any], budget: float = 2.0) -> float:
    """Return the least CPU seconds of some calls: two, or more of short ones."""
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < 2 or (time.perf_counter() - begun < budget and len(found) < 30):
        cpu = time.process_time()
        call()
        found.append(time.process_time() - cpu)
    return min(found)


# --- In the parent --------------------------------------------------------------------------------


def run_child(engine: str, name: str, reference: Path) -> dict[str, Any]:
    """Run one engine in a process of its own, on one core."""
    core = sorted(os.sched_getaffinity(0))[:1] if hasattr(os, "sched_setaffinity") else []
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--child", engine, name, str(reference)],
            capture_output=True, text=True, check=False, env={**os.environ, **one_thread(1)},
            preexec_fn=(lambda: os.sched_setaffinity(0, core)) if core else None, timeout=LIMIT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"absent": f"took more than {LIMIT} s, compilation included"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        return {"absent": (done.stderr.strip().splitlines() or ["no result"])[-1][:120]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def cell(facts: dict[str, Any], theirs: float | None) -> str:
    """Return one cell of the table: microseconds, how many times as fast, what differs."""
    if "us" not in facts:
        return "–"
    ratio = f" ({theirs / facts['us']:.1f}×)" if theirs else ""
    apart = [f"{facts[key]} {key[:-7]} differ" for key in facts if key.endswith("_differ")]
    marks = "".join(f", {mark}" for mark in apart if not mark.startswith("0 "))
    return f"{facts['us']:.3g}{ratio}{marks}"


def table(results: dict[str, dict[str, dict[str, Any]]], engines: list[str]) -> str:
    """Return the results as a table."""
    lines = [f"| µs per step | {' | '.join(engines)} |", f"|{' --- |' * (len(engines) + 1)}"]
    for name, rows in results.items():
        theirs = rows.get("bindsnet", {}).get("us")
        cells = [cell(rows[e], None if e == "bindsnet" else theirs) for e in engines]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--networks", default=",".join((*POISSON, *LEARNING)))
    parser.add_argument("--json", default="", help="write all facts to this file")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(*options.child)))
        return
    wanted = [engine for engine in options.engines.split(",") if engine in ENGINES]
    engines = ["bindsnet", *(engine for engine in wanted if engine != "bindsnet")]
    results: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in shown(options.networks.split(",")):
            reference, rows = Path(scratch) / f"{name}.npz", results.setdefault(name, {})
            for engine in engines:
                rows[engine] = run_child(engine, name, reference)
                note = rows[engine].get("absent", "")
                print(f"{name}: {engine} {cell(rows[engine], None)} {note}", file=sys.stderr)
    print(f"one core; × is against BindsNET\n\n{table(results, engines)}")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
