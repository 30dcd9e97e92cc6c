"""Our simulators beside the frameworks, on equal work: `x.py bench simulators`.

Every engine runs every workload it can express in a process of its own, on one pinned core; its
spikes are compared with the NumPy target's before it is timed. Times are the least CPU time of
several runs, the first (which compiles) counted apart. A peer that is not installed, cannot express
the work or gives other spikes is listed as such.

    x.py bench simulators [--quick] [--engines A,B] [--workloads "dense T25 B1 5%",...] [--json F]
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks._shown import shown
from benchmarks.engines.workloads import INFERENCE, POISSON, QUICK, TRAINING, graph, make

TORCH_PEERS = ("snntorch", "spikingjelly", "sinabs", "norse", "bindsnet")
JAX_PEERS = ("jaxsnn", "spyx")
BRIAN = ("brian2-cython", "brian2-standalone")
OURS = (
    "snnir-numpy", "snnir-torch", "snnir-xla", "snnir-mlir", "snnir-native", "snnir-native-i8"
)  # fmt: skip
PEERS = (*TORCH_PEERS, *JAX_PEERS, *BRIAN, "nest")
ENGINES = (*PEERS, *OURS)
OWN_DYNAMICS = {"jaxsnn", "spyx"}


def one_thread(threads: int) -> dict[str, str]:
    """Return the environment of a child: so many threads in every library."""
    flags = f"--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads={threads}"
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, str(threads)), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


# --- In the child --------------------------------------------------------------------------------


def measured(call: Callable[[], Any], budget: float = 1.0) -> tuple[Any, float, float]:
    """Return the result, the seconds of the first call, and the least CPU seconds of later ones."""
    start = time.perf_counter()
    result = call()
    first = time.perf_counter() - start
    found: list[float] = []
    spent = 0.0
    while len(found) < 3 or (spent < budget and len(found) < 50):
        begun, cpu = time.perf_counter(), time.process_time()
        result = call()
        found.append(time.process_time() - cpu)
        spent += time.perf_counter() - begun
        if spent > 8:
            break
    return result, first, min(found)


def prepared(engine: str, work: Any) -> Callable[[], tuple[Any, list[Any]]]:
    """Return a call that runs an engine once and gives its spikes and gradients."""
    if engine in TORCH_PEERS or engine == "snnir-torch":
        return torch_call(engine, work)
    if engine == "brian2-cython":
        from benchmarks.engines import brian_peer

        call = brian_peer.cython(work)
    elif engine == "nest":
        from benchmarks.engines import nest_peer

        call = nest_peer.nest(work)
    elif engine in JAX_PEERS:
        from benchmarks.engines import jax_peers

        call = getattr(jax_peers, engine)(work)
    else:
        from benchmarks.engines import ours

        if engine not in ("snnir-xla",) and work.train:
            raise NotImplementedError("it does not train")
        makers: dict[str, Callable[[Any], Any]] = {
            "snnir-numpy": ours.with_numpy, "snnir-xla": ours.with_xla,
            "snnir-mlir": ours.with_mlir, "snnir-native": ours.with_native,
            "snnir-native-i8": partial(ours.with_native, whole=True),
        }  # fmt: skip
        call = makers[engine](work)
    return lambda: (call(), [])


def torch_call(engine: str, work: Any) -> Callable[[], tuple[Any, list[Any]]]:
    """Return a call of a torch network, with the backward pass if the work trains."""
    import torch

    from benchmarks.engines import ours, torch_peers

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    maker = ours.with_torch if engine == "snnir-torch" else getattr(torch_peers, engine)
    net, x, parameters = maker(work)

    def forward() -> tuple[Any, list[Any]]:
        with torch.no_grad():
            return net(x), []

    def step() -> tuple[Any, list[Any]]:
        for parameter in parameters:
            parameter.grad = None
        out = net(x)
        out.sum(0).pow(2).mean().backward()
        return out.detach(), [parameter.grad for parameter in parameters]

    return step if work.train else forward


def child(engine: str, name: str, reference: str) -> dict[str, Any]:
    """Run one engine on one workload."""
    warnings.simplefilter("ignore")
    work = make(name)
    start = time.perf_counter()
    try:
        if engine == "brian2-standalone":
            return by_itself(work, reference)
        call = prepared(engine, work)
    except ImportError as missing:
        return {"absent": f"not installed ({missing.name})"}
    except Exception as problem:
        return {"absent": f"{problem}"[:120]}
    built = time.perf_counter() - start
    (output, gradients), first, least = measured(call)
    facts: dict[str, Any] = {"ms": least * 1e3, "first_s": built + first}
    if output is not None:
        want = np.load(reference)["output"]
        facts["differ"] = int((np.asarray(output).reshape(want.shape) != want).sum())
    if gradients:
        gain = 16.0 if engine == "norse" else 1.0  # of weights that are 16 times larger
        facts["gradients"] = [float(g.double().norm()) * gain for g in gradients]
    return facts


def by_itself(work: Any, reference: str) -> dict[str, Any]:
    """Run Brian2's own program, which measures itself."""
    from benchmarks.engines import brian_peer

    output, built, seconds = brian_peer.standalone(work)
    differ = int((output != np.load(reference)["output"]).sum())
    return {"ms": seconds * 1e3, "first_s": built, "differ": differ}


# --- In the parent -------------------------------------------------------------------------------


def reference(name: str, folder: Path, machine: Any) -> tuple[Path, float]:
    """Write the NumPy target's spikes of a workload; return the file and the machine's floor."""
    import snnir
    from benchmarks.engines.floor import floor

    work = make(name)
    populations = list(snnir.populations(graph(work)))
    result = snnir.compile(graph(work), "numpy").run(work.x, populations)
    spikes = [result.recorded[population] for population in populations]
    if work.kind == "recurrent":
        activity = [work.x, spikes[0], spikes[0]]
    else:
        activity = [work.x, *spikes[:-1]]
    path = folder / "reference.npz"
    np.savez(path, output=result.output)
    return path, floor(work, activity, machine)


def run_child(engine: str, name: str, path: Path, threads: int) -> dict[str, Any]:
    """Run one engine in a process of its own, on as many cores as it has threads."""
    own = "BRIAN2_PYTHON" if engine in BRIAN else "NEST_PYTHON" if engine == "nest" else ""
    python = os.environ.get(own, "")
    command = [python or sys.executable, __file__, "--child", engine, name, str(path)]
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:threads]
        pin: Callable[[], None] | None = lambda: os.sched_setaffinity(0, cores)  # noqa: E731
    else:
        pin = None
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=pin,
        env={**os.environ, **one_thread(threads)},
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        return {"absent": (done.stderr.strip().splitlines() or ["no result"])[-1][:120]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def cell(engine: str, facts: dict[str, Any]) -> str:
    """Return one cell of the table: milliseconds, and a mark where the spikes differ."""
    if "ms" not in facts:
        return "–"
    mark = ""
    if engine in OWN_DYNAMICS:
        mark = "°"
    elif facts.get("differ"):
        mark = f" ({facts['differ']} differ)"
    return f"{facts['ms']:.3g}{mark}"


def ratio(rows: dict[str, dict[str, Any]], ours: str, peers: tuple[str, ...]) -> str:
    """Return how much less time one of ours takes than the best of some peers."""
    mine = rows.get(ours, {}).get("ms")
    others = [rows[p]["ms"] for p in peers if "ms" in rows.get(p, {})]
    return f"{min(others) / mine:.2f}" if mine and others else "–"


def table(results: dict[str, dict[str, Any]], engines: list[str]) -> str:
    """Return the results as a table."""
    head = [
        "workload", *engines, "floor", "torch / best torch peer", "torch / best peer",
        "xla / best JAX peer", "native / best peer", "native i8 / best peer",
        "torch x floor",
    ]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, rows in results.items():
        mine = rows.get("snnir-torch", {}).get("ms")
        least = rows["floor"]["ms"]
        cells = [cell(engine, rows[engine]) for engine in engines]
        cells += [
            "–" if name.startswith("train") else f"{least:.3g}",
            ratio(rows, "snnir-torch", TORCH_PEERS), ratio(rows, "snnir-torch", PEERS),
            ratio(rows, "snnir-xla", JAX_PEERS),
            *(ratio(rows, ours, PEERS) for ours in ("snnir-native", "snnir-native-i8")),
            "–" if name.startswith("train") or not mine else f"{mine / least:.1f}",
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few workloads")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--workloads", default="", help="names with commas; all by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", default="", help="write all facts to this file")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(*options.child)))
        return
    from benchmarks.engines.floor import measure

    chosen = QUICK if options.quick else [*INFERENCE, *POISSON, *TRAINING]
    names = [name.strip() for name in options.workloads.split(",") if name.strip()] or chosen
    engines = [engine for engine in options.engines.split(",") if engine]
    unknown = [engine for engine in engines if engine not in ENGINES]
    if unknown:
        parser.error(f"there is no engine {unknown[0]!r}; there are {', '.join(ENGINES)}")
    machine = measure()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in shown(names):
            path, least = reference(name, Path(scratch), machine)
            rows: dict[str, Any] = {"floor": {"ms": least * 1e3}}
            for engine in engines:
                rows[engine] = run_child(engine, name, path, options.threads)
                note = rows[engine].get("absent", "")
                print(f"{name}: {engine} {cell(engine, rows[engine])} {note}", file=sys.stderr)
            results[name] = rows
    print(f"ms, {options.threads} thread(s); ° own dynamics: equal work, other spikes")
    gemm, near, far = machine.gemm / 1e9, machine.near / 1e9, machine.far / 1e9
    print(f"machine: {gemm:.0f} G multiply-adds/s, {near:.0f} GB/s cache, {far:.0f} GB/s memory\n")
    print(table(results, engines))
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
