"""Train the network of Diehl and Cook without labels on scikit-learn's digits.

    python examples/diehl_cook/train.py [--neurons 100] [--samples 1437] [--target native]
    python examples/diehl_cook/train.py --beside-bindsnet

784 inputs reach excitatory neurons through synapses that learn by the times of spikes (STDP);
every excitatory neuron has an inhibitory one that silences all others, and a threshold that rises
with its spikes (P. Diehl and M. Cook, Unsupervised learning of digit recognition using
spike-timing-dependent plasticity, Frontiers in Computational Neuroscience 9:99, 2015). The network
is a `bindsnet.network.Network`; `snnir.from_bindsnet` makes a graph of it, learning rule included,
and one of our targets trains it, an image at a time. What neurons answered to the last half of the
images while they learned, by class, labels them.

`--beside-bindsnet` lets BindsNET train the same network on the same spikes and random draws and
says how many spikes and weights differ: none.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for what examples share

import snnir
from examples.command_line import finish, graph_file, positive, seed
from examples.diehl_cook.bindsnet_side import BindsnetLearner, network
from examples.diehl_cook.data import PIXELS, STEPS, Images, digits, spikes
from examples.diehl_cook.labels import Labels
from snnir.ir import Graph, Plastic
from snnir.progress import counted

Array = npt.NDArray[Any]


class Learner(Protocol):
    """Something that can be shown images."""

    def show(self, x: Array) -> Array:
        """Run one image [steps, 1, 784]; return the excitatory spikes [steps, neurons]."""

    def freeze(self) -> None:
        """Learn no more."""

    def weights(self) -> Array:
        """Return the weights from the pixels, [neurons, 784]."""


class SnnirLearner:
    """Training in one of our targets.

    Args:
        graph: The network.
        target: Name of a target that learns.
    """

    def __init__(self, graph: Graph, target: str) -> None:
        self.graph, self.target = graph, target
        self.synapses = next(n.name for n in graph.nodes.values() if isinstance(n.op, Plastic))
        self._start(graph)

    def _start(self, graph: Graph) -> None:
        self.compiled = snnir.compile(graph, self.target)
        # Some targets compile when they are first run. What this run learns is left.
        self.compiled.run({"X": np.zeros((STEPS, 1, PIXELS), np.float32)})
        self.lasting: dict[str, Array] = {}

    def show(self, x: Array) -> Array:
        """Run one image; what it learns is kept for the next."""
        result = self.compiled.run({"X": x}, lasting=self.lasting)
        self.lasting = result.lasting
        output: Array = result.outputs["Ae"]
        return output[:, 0]

    def freeze(self) -> None:
        """Take the network as it is now; compile it without its rule."""
        self.graph = snnir.with_lasting(self.graph, self.lasting)
        self._start(self.graph.apply("freeze"))

    def weights(self) -> Array:
        """Return the weights from the pixels, [neurons, 784]."""
        return self.lasting[f"{self.synapses}:w"]


@dataclass(frozen=True)
class Shown:
    """What neurons answered to images.

    Attributes:
        counts: Spikes of every neuron for each image, [images, neurons].
        packed: Of every image, all spikes [steps, neurons] as bits.
        seconds: Time of the network alone.
    """

    counts: Array
    packed: list[Array]
    seconds: float


def show(learner: Learner, images: Images, seed: int, label: str = "") -> Shown:
    """Show images one after the other."""
    counts, packed, seconds = [], [], 0.0
    trains = counted(spikes(images, seed), label or "showing images", len(images))
    for number, x in enumerate(trains, 1):
        started = time.perf_counter()
        answer = learner.show(x)
        seconds += time.perf_counter() - started
        counts.append(answer.sum(axis=0))
        packed.append(np.packbits(answer > 0))
        if label and number % 200 == 0:
            print(f"  {label}: {number} images, {seconds:.1f} s", flush=True)
    return Shown(np.array(counts), packed, seconds)


@dataclass(frozen=True)
class Outcome:
    """What came out of a training.

    Attributes:
        learning, testing: What neurons answered.
        weights: After learning.
        all_activity, proportion: Shares of test images told rightly.
    """

    learning: Shown
    testing: Shown
    weights: Array
    all_activity: float
    proportion: float


def train(learner: Learner, learn: Images, test: Images, seed: int, label: str = "") -> Outcome:
    """Learn from images without their labels, label the neurons, and test."""
    learning = show(learner, learn, seed, label)
    weights = learner.weights()
    half = len(learn) // 2
    labels = Labels.of(learning.counts[half:], learn.labels[half:])
    learner.freeze()
    testing = show(learner, test, seed + 1)
    activity = float((labels.all_activity(testing.counts) == test.labels).mean())
    weighted = float((labels.proportion_weighting(testing.counts) == test.labels).mean())
    return Outcome(learning, testing, weights, activity, weighted)


def tell(name: str, outcome: Outcome) -> None:
    """Print what came out of a training."""
    images = len(outcome.learning.counts)
    each = outcome.learning.seconds / images
    print(
        f"{name}: {outcome.all_activity:.1%} by all activity, {outcome.proportion:.1%} by "
        f"proportions; {images} images learned in {outcome.learning.seconds:.1f} s "
        f"({each * 1e3:.2f} ms each)"
    )


def compare(ours: Outcome, theirs: Outcome) -> None:
    """Print how far two trainings are apart."""
    pairs = [
        ("learning", ours.learning.packed, theirs.learning.packed),
        ("testing", ours.testing.packed, theirs.testing.packed),
    ]
    for when, one, other in pairs:
        apart = sum(int(np.unpackbits(a ^ b).sum()) for a, b in zip(one, other, strict=True))
        print(f"spikes that differ while {when}: {apart}")
    bits = ours.weights.view(np.int32) != theirs.weights.view(np.int32)
    print(f"weights that differ in any bit: {int(bits.sum())} of {bits.size}")
    print(f"time: 1 to {theirs.learning.seconds / ours.learning.seconds:.1f}")


#: Our targets that learn.
TARGETS = ("numpy", "torch", "xla", "native")


def main() -> None:
    """Train, and compare with BindsNET if asked to."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--neurons", type=positive, default=100, help="excitatory neurons")
    parser.add_argument("--samples", type=positive, default=1437, help="images to learn, at most")
    parser.add_argument("--passes", type=positive, default=1, help="how often each is shown")
    parser.add_argument("--test", type=positive, default=360, help="images to test with, at most")
    parser.add_argument("--seed", type=seed, default=0, help="of weights, spikes and draws")
    parser.add_argument("--target", choices=TARGETS, default="native", help="our simulator")
    parser.add_argument("--beside-bindsnet", action="store_true", help="let BindsNET train too")
    parser.add_argument(
        "--save", type=graph_file, metavar="FILE.snnir", help="write the trained graph"
    )
    options = parser.parse_args()
    learn, test = (
        images.first(count)
        for images, count in zip(digits(), (options.samples, options.test), strict=True)
    )
    learn = learn.repeated(options.passes)
    net = network(options.neurons, options.seed)
    mine = SnnirLearner(snnir.from_bindsnet(net, seed=options.seed), options.target)
    ours = train(mine, learn, test, options.seed, options.target)
    tell(f"snnir, {options.target}", ours)
    if options.beside_bindsnet:
        theirs = train(BindsnetLearner(net, options.seed), learn, test, options.seed, "bindsnet")
        tell("BindsNET", theirs)
        compare(ours, theirs)
    if options.save:
        snnir.save(mine.graph, options.save)


if __name__ == "__main__":
    finish(main)
