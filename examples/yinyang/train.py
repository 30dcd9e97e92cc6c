"""Train a Yin-Yang classifier for a BrainScaleS-2 chip: in floating point, then for the chip.

    python examples/yinyang/train.py --train     # yinyang.snnir, about a minute
    python examples/yinyang/train.py --aware     # yinyang_aware.snnir from it
    python examples/yinyang/train.py --check     # accuracy of both

The task (Kriener, Göltz, Petrovici: The Yin-Yang dataset, NICE 2022): a point of the plane lies in
the yin, the yang or the dots of the sign. Its coordinates x, y, 1 - x, 1 - y become one spike each,
the later the larger; a fifth spike comes with the first of them. Each of the five goes to the
network on five channels: a synapse of the chip alone is too weak. 120 hidden neurons spike, three
readouts do not; the class is that of the readout whose membrane gets highest.

The chip is in continuous time. Between the events of a step's begin and its end the equations of
its neurons have a closed solution; neurons stepped by `exponential_euler` follow it without error if
a spike jumps the current by its weight and `r` corrects for the decay of the current within the
step, see `neurons`. Only resets are late: in a model at the end of the step, on the chip at once.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import snnir
from snnir.ir import FrozenDict, Graph, Input, Linear, Neuron, Node, Op, Value

Array = npt.NDArray[Any]

HERE = Path(__file__).parent
MODEL, AWARE = HERE / "yinyang.snnir", HERE / "yinyang_aware.snnir"

#: Seconds of the model; the chip is 1000 times faster.
DT, TAU = 1e-3, 6e-3
EARLY, LATE, STEPS = 2, 26, 38
COPIES, HIDDEN, CLASSES = 5, 120, 3
#: The sizes and seeds of the published sets.
TRAIN, TEST, TRAIN_SEED, TEST_SEED = 5000, 1000, 42, 40
SEED, BATCH = 1, 100
#: Largest weight: with one scale for all neurons of a layer, one that has 6 bits.
LIMIT = 0.98
#: Of logits, in membranes that reach about 1.
SHARPNESS = 4.0


# --- The task ------------------------------------------------------------------------------------


def which(x: Array, y: Array, small: float = 0.1, big: float = 0.5) -> Array:
    """Return the class of points in the sign of radius `big` around (big, big).

    Returns:
        0 for yang, 1 for yin, 2 for the dots, whose radius is `small`.
    """
    right, left = np.hypot(x - 1.5 * big, y - big), np.hypot(x - 0.5 * big, y - big)
    bulge = (left > small) & (left <= big / 2)
    yin = (right <= small) | bulge | ((y > big) & (right > big / 2))
    dots = (right < small) | (left < small)
    return np.where(dots, 2, yin.astype(np.int64))


def points(size: int, seed: int) -> tuple[Array, Array]:
    """Return coordinates [size, 4] (x, y, 1 - x, 1 - y) and classes, drawn evenly over classes."""
    rng = np.random.default_rng(seed)
    wanted = rng.integers(3, size=size)
    found: list[list[Array]] = [[], [], []]
    while any(len(found[k]) < np.sum(wanted == k) for k in range(3)):
        for x, y in rng.random((4096, 2)):
            if np.hypot(x - 0.5, y - 0.5) <= 0.5:
                found[int(which(x, y))].append(np.array([x, y]))
    rows = [iter(own) for own in found]
    xy = np.stack([next(rows[k]) for k in wanted])
    return np.concatenate([xy, 1 - xy], axis=1), wanted


def encode(coordinates: Array, fine: int = 1) -> Array:
    """Return spikes [T, B, 25] of coordinates [B, 4].

    Args:
        coordinates: Between 0 and 1.
        fine: Steps per millisecond; spikes stay at the begin of their millisecond.
    """
    times = np.rint(EARLY + coordinates * (LATE - EARLY)).astype(np.int64)
    times = np.concatenate([times, np.full((len(times), 1), EARLY)], axis=1)
    spikes = np.zeros((STEPS * fine, *times.shape), np.float32)
    row, channel = np.indices(times.shape)
    spikes[times * fine, row, channel] = 1
    return np.tile(spikes, COPIES)


# --- The network ---------------------------------------------------------------------------------


def neurons(model: str, dt: float = DT) -> Neuron:
    """Return neurons whose steps of `dt` are the solution in continuous time.

    An event at the begin of a step adds its weight to i, which decays with `TAU` as v does: at the
    end of the step it has moved v by exp(-dt/TAU) dt/TAU.
    """
    decay = np.exp(-dt / TAU)
    values = {"tau_mem": TAU, "tau_syn": TAU, "v_leak": 0.0}
    values |= {"w_in": 1 / (1 - decay), "r": decay * dt / TAU / (1 - decay)}
    if model == "cubalif":
        values |= {"v_threshold": 1.0, "v_reset": 0.0}
    stepping = snnir.Stepping(integrator="exponential_euler")
    params = FrozenDict({name: snnir.tensor(np.float64(v)) for name, v in values.items()})
    return Neuron(model, params, stepping)


def network(hidden: Array, readout: Array, dt: float = DT) -> Graph:
    """Return the network.

    Args:
        hidden: Weights [120, 25].
        readout: Weights [3, 120].
        dt: Seconds of a step.
    """
    nodes: dict[str, tuple[Op, str]] = {
        "input": (Input(snnir.Signal(snnir.Kind.SPIKES, (hidden.shape[1],))), ""),
        "fc1": (Linear(snnir.tensor(hidden.astype(np.float32))), "input"),
        "hidden": (neurons("cubalif", dt), "fc1"),
        "fc2": (Linear(snnir.tensor(readout.astype(np.float32))), "hidden"),
        "readout": (neurons("cubali", dt), "fc2"),
    }
    built = {
        name: Node(name, op, (Value(source),) if source else ())
        for name, (op, source) in nodes.items()
    }
    return Graph(built, {"output": Value("readout")}, name="yinyang", dt=dt).verify()


def untrained(seed: int) -> Graph:
    """Return the network with random weights."""
    rng = np.random.default_rng(seed)
    hidden = np.tile(rng.normal(0.2, 0.2, (HIDDEN, 5)), COPIES)
    return network(hidden, rng.normal(0, 0.1, (CLASSES, HIDDEN)))


# --- Training ------------------------------------------------------------------------------------


def train(net: Any, epochs: int, rate: float, seed: int = SEED) -> None:
    """Train a module made from the network, in place."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    coordinates, labels = points(TRAIN, TRAIN_SEED)
    x, target = torch.from_numpy(encode(coordinates)), torch.from_numpy(labels)
    weights = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    started = time.perf_counter()
    for epoch in range(epochs):
        right = 0
        for batch in torch.randperm(len(target)).split(BATCH):
            scores = SHARPNESS * net(x[:, batch]).amax(0)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(scores, target[batch]).backward()
            optimiser.step()
            with torch.no_grad():
                for weight in weights:
                    weight.clamp_(-LIMIT, LIMIT)
            right += int((scores.argmax(1) == target[batch]).sum())
        schedule.step()
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}: {right / len(target):.1%} ({seconds:.0f} s)", flush=True)
