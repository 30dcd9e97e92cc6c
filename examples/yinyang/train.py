"""Train a Yin-Yang classifier for a BrainScaleS-2 chip: in floating point, then for the chip.

    python examples/yinyang/train.py --train     # yinyang.snnir, half a minute
    python examples/yinyang/train.py --aware     # yinyang_aware.snnir, a minute or two
    python examples/yinyang/train.py --check     # accuracy of both, on the emulated chip
    python examples/yinyang/train.py --loop      # some virtual chips trained with their own spikes

The task (Kriener, Göltz, Petrovici: The Yin-Yang dataset, NICE 2022): a point of the plane lies in
the yin, the yang or the dots of the sign. Its coordinates x, y, 1 - x, 1 - y become one spike each,
the later the larger; a fifth spike comes at the earliest time. Each of the five goes to the network
on five channels: one synapse of the chip is too weak. 120 hidden neurons spike, three readouts do
not; the class is that of the readout whose membrane gets highest.

The chip is in continuous time, where events come at the begin of a step. The equations of its
neurons have a closed solution up to the end of the step, and neurons stepped by
`exponential_euler` follow it without error if an event adds its weight to the current and `r`
corrects for the decay of the current within the step, see `neurons`. What differs are spikes: on
the chip they leave, and the membrane is reset, within the step, in the model at its end. The
target's refractory time of half a step makes up for most of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for what examples share

import snnir
from examples.command_line import finish, positive
from snnir.ir import FrozenDict, Graph, Input, Linear, Neuron, Node, Op, Value
from snnir.progress import counted

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
#: Numbers of the virtual chips that are measured; training for all chips draws others.
CHIPS = range(100, 120)
#: Of the trial that is measured; training in the loop sees those from 0.
TRIAL = 10**6


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


def encode(coordinates: Array) -> Array:
    """Return spikes [T, B, 25] of coordinates [B, 4], which are between 0 and 1."""
    times = np.rint(EARLY + coordinates * (LATE - EARLY)).astype(np.int64)
    times = np.concatenate([times, np.full((len(times), 1), EARLY)], axis=1)
    spikes = np.zeros((STEPS, *times.shape), np.float32)
    row, channel = np.indices(times.shape)
    spikes[times, row, channel] = 1
    return np.tile(spikes, COPIES)


# --- The network ---------------------------------------------------------------------------------


def neurons(model: str) -> Neuron:
    """Return neurons whose steps of `DT` are the solution in continuous time.

    An event at the begin of a step adds its weight to i, which decays with `TAU` as v does: at the
    end of the step it has moved v by exp(-DT/TAU) DT/TAU.
    """
    decay = np.exp(-DT / TAU)
    values = {"tau_mem": TAU, "tau_syn": TAU, "v_leak": 0.0}
    values |= {"w_in": 1 / (1 - decay), "r": decay * DT / TAU / (1 - decay)}
    if model == "cubalif":
        values |= {"v_threshold": 1.0, "v_reset": 0.0}
    stepping = snnir.Stepping(integrator="exponential_euler")
    params = FrozenDict({name: snnir.tensor(np.float64(v)) for name, v in values.items()})
    return Neuron(model, params, stepping)


def network(hidden: Array, readout: Array) -> Graph:
    """Return the network.

    Args:
        hidden: Weights [120, 25].
        readout: Weights [3, 120].
    """
    nodes: dict[str, tuple[Op, str]] = {
        "input": (Input(snnir.Signal(snnir.Kind.SPIKES, (hidden.shape[1],))), ""),
        "fc1": (Linear(snnir.tensor(hidden.astype(np.float32))), "input"),
        "hidden": (neurons("cubalif"), "fc1"),
        "fc2": (Linear(snnir.tensor(readout.astype(np.float32))), "hidden"),
        "readout": (neurons("cubali"), "fc2"),
    }
    built = {
        name: Node(name, op, (Value(source),) if source else ())
        for name, (op, source) in nodes.items()
    }
    return Graph(built, {"output": Value("readout")}, name="yinyang", dt=DT).verify()


def untrained(seed: int) -> Graph:
    """Return the network with random weights."""
    rng = np.random.default_rng(seed)
    hidden = np.tile(rng.normal(0.2, 0.2, (HIDDEN, 5)), COPIES)
    return network(hidden, rng.normal(0, 0.1, (CLASSES, HIDDEN)))


# --- Training ------------------------------------------------------------------------------------

#: Options of training in floating point, and of that where every batch is on another chip.
FLOAT: dict[str, Any] = {"surrogate": "superspike{alpha=50}"}
VARIED: dict[str, Any] = {"surrogate": "superspike{alpha=20}", "mismatch": True, "seed": SEED}


def train(net: Any, epochs: int, rate: float, sharpness: float) -> list[float]:
    """Train a module made from the network, in place.

    Args:
        net: The module.
        epochs: How often it sees the training set.
        rate: Of Adam; falls to 0 with half a cosine.
        sharpness: What logits are of membranes, which reach about 1.

    Returns:
        The share of the training set that was told rightly while each epoch went on.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    coordinates, labels = points(TRAIN, TRAIN_SEED)
    x, target = torch.from_numpy(encode(coordinates)), torch.from_numpy(labels)
    weights = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    shares = []
    started = time.perf_counter()
    for epoch in counted(range(epochs), "training"):
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
        shares.append(right / len(target))
        if (epoch + 1) % 10 == 0 or epoch + 1 == epochs:
            seconds = time.perf_counter() - started
            print(f"  epoch {epoch + 1}: {shares[-1]:.1%} ({seconds:.0f} s)", flush=True)
    return shares


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


def on_chips(graph: Graph, x: Array, labels: Array, chips: range, **how: Any) -> list[float]:
    """Return the accuracy on every one of some emulated chips, by their numbers.

    Args:
        graph: The network.
        x: Spikes [T, B, 25].
        labels: Classes [B].
        chips: Numbers in a row.
        how: Other conditions of the run.
    """
    chip: Any = snnir.compile(graph, "bss2")
    found: list[float] = chip.monte_carlo(
        x, len(chips), lambda result: right(result.output, labels), seed=chips[0], **how
    )
    return found


def check(path: Path) -> None:
    """Print how good a network is on the test set."""
    graph = snnir.load(path)
    coordinates, labels = points(TEST, TEST_SEED)
    x = encode(coordinates)
    stepped = right(snnir.compile(graph, "numpy").run(x).output, labels)
    chip: Any = snnir.compile(graph, "bss2")
    ideal = right(chip.run(x).output, labels)
    noisy = right(chip.run(x, noise_seed=TRIAL).output, labels)
    print(f"{path.name}: stepped {stepped:.1%}, compiled {ideal:.1%}, with noise {noisy:.1%}")
    say("  20 chips", on_chips(graph, x, labels, CHIPS))
    say("  20 chips with noise", on_chips(graph, x, labels, CHIPS, noise_seed=TRIAL))


def say(what: str, shares: Sequence[float]) -> None:
    """Print accuracies."""
    percent = 100 * np.array(shares)
    spread = f"{percent.mean():.1f} ± {percent.std():.1f} % (least {percent.min():.1f})"
    print(f"{what}: {spread}", flush=True)


def train_in_the_loop(graph: Graph, chip: int, epochs: int) -> Graph:
    """Return a network trained with what an emulated chip does: its values, gradients of the model.

    For another chip, `observe` takes the place of `in_the_loop`.
    """
    there = {"mode": "mismatch", "seed": chip, "noise_seed": 0}
    net = snnir.train_for(graph, "bss2", in_the_loop=there, surrogate=VARIED["surrogate"])
    train(net, epochs, rate=1e-3, sharpness=10)
    trained: Graph = net.graph()
    return trained


def loop(epochs: int, chips: range) -> None:
    """Print what training in the loop brings on some chips, each with its own network."""
    coordinates, labels = points(TEST, TEST_SEED)
    x = encode(coordinates)
    for path in (MODEL, AWARE):
        graph = snnir.load(path)
        say(f"{path.name}, {len(chips)} chips with noise",
            on_chips(graph, x, labels, chips, noise_seed=TRIAL))  # fmt: skip
        after = []
        for chip in chips:
            trained = train_in_the_loop(graph, chip, epochs)
            after += on_chips(trained, x, labels, range(chip, chip + 1), noise_seed=TRIAL)
        say(f"  after {epochs} epochs in the loop", after)


def main() -> None:
    """Train, or check what is there."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train in floating point")
    parser.add_argument("--aware", action="store_true", help="train for chips that vary")
    parser.add_argument("--check", action="store_true", help="measure the committed models")
    parser.add_argument("--loop", action="store_true", help="train on every chip by itself")
    parser.add_argument("--epochs", type=positive, default=3, help="in the loop")
    parser.add_argument("--chips", type=positive, default=4, help="how many, in the loop")
    arguments = parser.parse_args()
    if arguments.train:
        snnir.save(train_float(), MODEL)
    if arguments.aware:
        snnir.save(train_aware(), AWARE)
    if arguments.check or not (arguments.train or arguments.aware or arguments.loop):
        check(MODEL)
        check(AWARE)
    if arguments.loop:
        loop(arguments.epochs, CHIPS[: arguments.chips])


if __name__ == "__main__":
    finish(main)
