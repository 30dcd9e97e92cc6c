"""Small models and shortcuts that several tests use."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import nir
import numpy as np

import snnir
from snnir.ir import (
    Add,
    Delay,
    FrozenDict,
    Graph,
    Input,
    Linear,
    Neuron,
    Node,
    Op,
    Signal,
    Step,
    Value,
)  # fmt: skip

ROOT = Path(__file__).parent.parent
CORPUS = ROOT.parent / "shared" / "corpus"


def quiet_load(path: Path | str, **options: Any) -> Graph:
    """Load without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        return snnir.load(path, **options)


def spikes(shape: tuple[int, ...], rate: float = 0.3, seed: int = 0) -> Any:
    """Return random spikes [T, B, *features]."""
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.float32)


def dyadic(shape: tuple[int, ...], seed: int = 0) -> Any:
    """Return weights on a grid of 1/256, whose sums are exact in float32."""
    return (np.random.default_rng(seed).integers(-96, 160, shape) / 256).astype(np.float32)


def params(**values: Any) -> FrozenDict[snnir.Tensor]:
    """Return parameters; Python numbers become float32 scalars."""
    return FrozenDict({name: snnir.tensor(value) for name, value in values.items()})


def graph(nodes: dict[str, tuple[Op, list[str]]], output: str, **extra: Any) -> Graph:
    """Build a graph from {name: (op, operand names)}."""
    built = {n: Node(n, op, tuple(Value(s) for s in srcs)) for n, (op, srcs) in nodes.items()}
    return Graph(built, {"output": Value(output)}, **extra)


def lif_step(**changes: Any) -> Step:
    """Return a LIF step with beta 0.875 and threshold 1."""
    rules = snnir.LifStep(**changes)
    known = {
        "beta": 0.875, "threshold": 1.0, "gain": 0.5, "alpha": 0.75, "w_in": 0.5, "k_syn": 0.25,
        "k_mem": 0.125, "leak": 0.25, "leak_syn": 0.125, "bias": 0.0625, "v_reset": 0.25,
        "v_min": -1.0, "v_start": 0.5, "tau": 4.0,
        "v_subtract": 0.75, "cross": 0.25, "through": 0.125,
    }  # fmt: skip
    if rules.fixed:
        known |= {"beta": 3584.0, "alpha": 3072.0, "threshold": 4096.0, "v_min": -4096.0}
    wanted = [name for name, _ in rules.program.params]
    return Step(rules, params(**{name: known[name] for name in wanted}), "lif")


def feed_forward(step: Op | None = None) -> Graph:
    """3 spikes -> 4 neurons."""
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (3,))), []),
        "fc": (Linear(snnir.tensor(dyadic((4, 3))), snnir.tensor(dyadic((4,), 1))), ["input"]),
        "lif": (step or lif_step(), ["fc"]),
    }
    return graph(nodes, "lif", dt=1e-3)


def recurrent(delay: int = 1) -> Graph:
    """3 spikes -> 4 neurons that also feed each other after a delay."""
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (3,))), []),
        "fc": (Linear(snnir.tensor(dyadic((4, 3)))), ["input"]),
        "late": (Delay(delay), ["lif"]),
        "rec": (Linear(snnir.tensor(dyadic((4, 4), 2))), ["late"]),
        "sum": (Add(), ["fc", "rec"]),
        "lif": (lif_step(), ["sum"]),
    }
    return graph(nodes, "lif", dt=1e-3)


def continuous(model: str = "lif", **values: float) -> Graph:
    """One analog input into one continuous neuron, stepped exactly."""
    given = params(**{k: np.float64(v) for k, v in values.items()})
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(snnir.Kind.ANALOG, (1,))), []),
        "n": (Neuron(model, given, snnir.Stepping()), ["input"]),
    }
    return graph(nodes, "n", dt=1e-3)


def nir_chain(*nodes: nir.NIRNode, shape: Any, out: Any) -> nir.NIRGraph:
    """Return input -> n0 -> n1 … -> output without type checks."""
    named: dict[str, nir.NIRNode] = {"input": nir.Input(input_type={"input": np.array(shape)})}
    named.update({f"n{index}": node for index, node in enumerate(nodes)})
    named["output"] = nir.Output(output_type={"output": np.array(out)})
    return nir.NIRGraph(named, list(itertools.pairwise(named)), type_check=False)


def nir_file(path: Path, model: nir.NIRGraph | None = None) -> Path:
    """Write a NIR model, by default 3 -> 4 LIF neurons."""
    if model is None:
        four = np.ones(4, np.float32)
        lif = nir.LIF(tau=four * 0.01, r=four * 10, v_leak=four * 0, v_threshold=four)
        model = nir_chain(nir.Affine(dyadic((4, 3)), dyadic((4,))), lif, shape=[3], out=[4])
    nir.write(path, model)
    return path


def nir_recurrent(path: Path) -> Path:
    """Write a NIR model of 3 inputs and 4 CubaLIF neurons that feed each other."""
    four = np.ones(4, np.float32)
    nodes: dict[str, nir.NIRNode] = {
        "input": nir.Input(input_type={"input": np.array([3])}),
        "fc": nir.Affine(dyadic((4, 3)), dyadic((4,))),
        "lif": nir.CubaLIF(
            tau_syn=four * 0.005, tau_mem=four * 0.01, r=four * 20, v_leak=four * 0,
            v_threshold=four, w_in=four,
        ),
        "rec": nir.Linear(dyadic((4, 4), 2)),
        "output": nir.Output(output_type={"output": np.array([4])}),
    }  # fmt: skip
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")]
    nir.write(path, nir.NIRGraph(nodes, edges, type_check=False))
    return path


def nir_convolution(path: Path) -> Path:
    """Write a NIR model of a 2x6x6 picture, a convolution, IF neurons, and 3 IF neurons."""
    plane, three = np.ones((3, 4, 4), np.float32), np.ones(3, np.float32)
    model = nir_chain(
        nir.Conv2d((6, 6), dyadic((3, 2, 3, 3)), 1, 0, 1, 1, np.zeros(3, np.float32)),
        nir.IF(r=plane, v_threshold=plane),
        nir.Flatten(input_type={"input": np.array([3, 4, 4])}, start_dim=0, end_dim=-1),
        nir.Linear(dyadic((3, 48), 1)),
        nir.IF(r=three, v_threshold=three),
        shape=[2, 6, 6],
        out=[3],
    )
    nir.write(path, model)
    return path


def cli(
    *arguments: Any, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, also where snnir is not installed."""
    command = [sys.executable, "-m", "snnir", *map(str, arguments)]
    known = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=known)


def cli_here(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process, which has loaded torch already."""
    from snnir.cli import main
    from snnir.cli.manners import MANNERS

    words = [str(argument) for argument in arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    before = MANNERS.quiet, MANNERS.verbose
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        finally:
            MANNERS.quiet, MANNERS.verbose = before
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
