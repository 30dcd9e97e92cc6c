"""Train a Yin-Yang classifier for a BrainScaleS-2 chip: in floating point, then for the chip.

    python examples/yinyang/train.py --train     # yinyang.snnir, half a minute
    python examples/yinyang/train.py --aware     # yinyang_aware.snnir, a minute
    python examples/yinyang/train.py --check     # accuracy of both, also where chips vary
    python examples/yinyang/train.py --loop      # each of 8 virtual chips trained with its spikes

The task (Kriener, Göltz, Petrovici: The Yin-Yang dataset, NICE 2022): a point of the plane lies in
the yin, the yang or the dots of the sign. Its coordinates x, y, 1 - x, 1 - y become one spike each,
the later the larger; a fifth spike comes at the earliest time. Each of the five goes to the network
on five channels: one synapse of the chip is too weak. 120 hidden neurons spike, three readouts do
not; the class is that of the readout whose membrane gets highest.

The chip is in continuous time, where events come at the begin of a step. The equations of its
neurons have a closed solution up to the end of the step, and neurons stepped by
`exponential_euler` follow it without error if an event adds its weight to the current and `r`
corrects for the decay of the current within the step, see `neurons`. What differs are spikes: on
the chip they leave, and the membrane is reset, within the step, in the model at its end. A
refractory time of half a step makes up for most of it, see `--check`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
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
#: Numbers of the virtual chips that are measured; training draws others.
CHIPS = range(100, 120)


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
    """Return coordinates [size, 4] (x, y, 1 - x, 1 - y) and classes [size], all equally likely."""
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

#: Options of training in floating point, and of that where every batch is on another chip.
FLOAT: dict[str, Any] = {"surrogate": "superspike{alpha=50}"}
VARIED: dict[str, Any] = {"surrogate": "superspike{alpha=20}", "mismatch": True, "seed": SEED}


def train(net: Any, epochs: int, rate: float, sharpness: float) -> None:
    """Train a module made from the network, in place.

    Args:
        net: The module.
        epochs: How often it sees the training set.
        rate: Of Adam; falls to 0 with half a cosine.
        sharpness: What logits are of membranes, which reach about 1.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    coordinates, labels = points(TRAIN, TRAIN_SEED)
    x, target = torch.from_numpy(encode(coordinates)), torch.from_numpy(labels)
    weights = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    started = time.perf_counter()
    for epoch in range(epochs):
        right = 0
        for batch in torch.randperm(len(target)).split(BATCH):
            scores = sharpness * net(x[:, batch]).amax(0)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(scores, target[batch]).backward()
            optimiser.step()
            with torch.no_grad():
                for weight in weights:
                    weight.clamp_(-LIMIT, LIMIT)
            right += int((scores.argmax(1) == target[batch]).sum())
        schedule.step()
        if (epoch + 1) % 10 == 0 or epoch + 1 == epochs:
            seconds = time.perf_counter() - started
            print(f"  epoch {epoch + 1}: {right / len(target):.1%} ({seconds:.0f} s)", flush=True)


def train_float() -> Graph:
    """Return the network trained in floating point."""
    graph = untrained(SEED)
    net = snnir.to_torch(graph, **FLOAT)
    train(net, epochs=80, rate=2e-3, sharpness=10)
    return snnir.update(graph, net)


def train_aware() -> Graph:
    """Return the network trained with weights of 6 bits, every batch on another chip."""
    net = snnir.train_for(untrained(SEED), "bss2", **VARIED)
    train(net, epochs=200, rate=5e-3, sharpness=4)
    graph: Graph = net.graph()
    return graph


# --- Measuring -----------------------------------------------------------------------------------


def right(output: Array, labels: Array) -> float:
    """Return the share of samples that readouts [T, B, 3] tell rightly."""
    return float((output.max(0).argmax(1) == labels).mean())


def finely(graph: Graph, coordinates: Array, fine: int = 20) -> Array:
    """Return readouts of the network in nearly continuous time, as the chip's equations have it.

    Args:
        graph: The trained network; its weights are taken.
        coordinates: [B, 4].
        fine: Steps per millisecond.
    """
    first, second = (graph.nodes[name].op.tensors()["weight"].numpy() for name in ("fc1", "fc2"))
    built = network(first, second, DT / fine)
    hidden = built.nodes["hidden"].op
    assert isinstance(hidden, Neuron)
    assert hidden.stepping is not None
    editor = built.edit()
    held = replace(hidden.stepping, refractory=fine // 2)
    editor.set_op("hidden", replace(hidden, stepping=held))
    return snnir.compile(editor.graph(), "numpy").run(encode(coordinates, fine)).output


def on_chips(graph: Graph, x: Array, labels: Array, chips: Sequence[int]) -> list[float]:
    """Return the accuracy on every one of some virtual chips, by their numbers."""
    import torch

    net = snnir.train_for(graph, "bss2", mismatch=True).eval()
    found = []
    for net.chip in chips:
        with torch.no_grad():
            found.append(right(net(torch.from_numpy(x)).numpy(), labels))
    return found


def check(path: Path) -> None:
    """Print how good a network is on the test set."""
    graph = snnir.load(path)
    coordinates, labels = points(TEST, TEST_SEED)
    x = encode(coordinates)
    rounded = snnir.train_for(graph, "bss2").graph()
    shown = [
        ("stepped", right(snnir.compile(graph, "numpy").run(x).output, labels)),
        ("6 bits", right(snnir.compile(rounded, "numpy").run(x).output, labels)),
        ("6 bits, nearly continuous", right(finely(rounded, coordinates), labels)),
    ]
    print(path.name, ", ".join(f"{what}: {share:.1%}" for what, share in shown))
    say("  on 20 chips that vary", on_chips(graph, x, labels, CHIPS))


def say(what: str, shares: Sequence[float]) -> None:
    """Print accuracies."""
    percent = 100 * np.array(shares)
    spread = f"{percent.mean():.1f} ± {percent.std():.1f} % (least {percent.min():.1f})"
    print(f"{what}: {spread}", flush=True)


def train_in_the_loop(graph: Graph, chip: int, epochs: int) -> Graph:
    """Return a network trained with what a virtual chip does: its values, the model's gradients.

    A real chip, or an emulated one, takes the place of `observe`.
    """
    import torch

    def observe(now: Graph, x: Array) -> dict[str, Array]:
        there = snnir.train_for(now, "bss2", mismatch=True, resample="fixed", seed=chip)
        did = there.activity(torch.from_numpy(x))
        return {name: value.numpy() for name, value in did.items()}

    net = snnir.train_for(graph, "bss2", observe=observe, surrogate=VARIED["surrogate"])
    train(net, epochs, rate=1e-3, sharpness=10)
    trained: Graph = net.graph()
    return trained


def loop(epochs: int) -> None:
    """Print what training in the loop brings on 8 chips."""
    coordinates, labels = points(TEST, TEST_SEED)
    x = encode(coordinates)
    for path in (MODEL, AWARE):
        graph = snnir.load(path)
        trained = [train_in_the_loop(graph, chip, epochs) for chip in CHIPS[:8]]
        say(f"{path.name} on 8 chips", on_chips(graph, x, labels, CHIPS[:8]))
        after = [on_chips(g, x, labels, [chip])[0] for g, chip in zip(trained, CHIPS, strict=False)]
        say(f"  after {epochs} epochs in the loop", after)


def main() -> None:
    """Train, or check what is there."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train in floating point")
    parser.add_argument("--aware", action="store_true", help="train for chips that vary")
    parser.add_argument("--check", action="store_true", help="measure the committed models")
    parser.add_argument("--loop", action="store_true", help="train on every chip by itself")
    parser.add_argument("--epochs", type=int, default=5, help="in the loop")
    arguments = parser.parse_args()
    if arguments.train:
        snnir.save(train_float(), MODEL)
    if arguments.aware:
        snnir.save(train_aware(), AWARE)
    if arguments.check or not (arguments.train or arguments.aware or arguments.loop):
        check(MODEL)
        check(AWARE)
    if arguments.loop:
        loop(arguments.epochs)


if __name__ == "__main__":
    main()
