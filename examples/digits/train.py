"""Train a spiking classifier on scikit-learn's digits, in plain NumPy, and save it as NIR.

    python examples/digits/train.py [--epochs 60] [--check]

The network is 64 -> 128 -> 10 leaky integrate-and-fire neurons, stepped by

    v[t] = beta v[t-1] + W s[t] + b,   s[t] = 1 if v[t] > 1, then v[t] = 0 where s[t] = 1

with beta = 1 - dt / tau, dt = 1 ms, tau = 16 ms. Pixels are rate coded: each is a Bernoulli spike
train of 32 steps. The class is the output neuron with the most spikes. Training is
back-propagation through time with the derivative of a fast sigmoid in place of the step
(Zenke and Ganguli, Neural Computation 2018; Neftci, Mostafa and Zenke, IEEE SPM 2019).

After training, weights are rounded to multiples of 1/256, so that sums of them over spikes are
exact in float32 in any order, and every simulator gives the same spikes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for what examples share

from examples.command_line import finish, positive

Array = npt.NDArray[Any]

HERE = Path(__file__).parent
MODEL, SAMPLES = HERE / "digits.nir", HERE / "samples.npz"

DT, TAU = 1e-3, 16e-3
BETA = np.float32(1 - DT / TAU)
STEPS, HIDDEN, CLASSES, PIXELS = 32, 128, 10, 64
GRID = 256.0
SEED = 2026
SLOPE = np.float32(5.0)
KEPT = 200


@dataclass
class Weights:
    """Trainable parameters, float32: w1 [hidden, pixels], w2 [classes, hidden], and biases."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array

    def arrays(self) -> list[Array]:
        """Return the parameters in a fixed order."""
        return [self.w1, self.b1, self.w2, self.b2]

    def snapped(self) -> Weights:
        """Return the parameters rounded to the grid."""
        return Weights(
            *(np.rint(a * GRID).astype(np.float32) / np.float32(GRID) for a in self.arrays())
        )


def initial(rng: np.random.Generator) -> Weights:
    """Return random weights, scaled by the fan-in."""

    def normal(out: int, fan_in: int) -> Array:
        scaled: Array = rng.standard_normal((out, fan_in)) / np.sqrt(fan_in)
        return scaled.astype(np.float32)

    return Weights(
        normal(HIDDEN, PIXELS), np.zeros(HIDDEN, np.float32),
        normal(CLASSES, HIDDEN), np.zeros(CLASSES, np.float32),
    )  # fmt: skip


def encode(images: Array, rng: np.random.Generator) -> Array:
    """Return Bernoulli spike trains [T, B, 64] of images [B, 64] with pixels in 0..1."""
    spikes: Array = rng.random((STEPS, *images.shape)) < 0.6 * images
    return spikes.astype(np.float32)


def layer(current: Array) -> tuple[Array, Array]:
    """Step a layer of LIF neurons; returns spikes and membranes before the reset, [T, B, n]."""
    v = np.zeros_like(current[0])
    spikes, membranes = np.empty_like(current), np.empty_like(current)
    for t, now in enumerate(current):
        h = BETA * v + now
        spikes[t] = h > 1
        membranes[t] = h
        v = np.where(spikes[t] > 0, np.float32(0), h)
    return spikes, membranes


def forward(weights: Weights, x: Array) -> dict[str, Array]:
    """Run the network on spikes [T, B, 64]; returns spikes and membranes of both layers."""
    hidden, v1 = layer(x @ weights.w1.T + weights.b1)
    out, v2 = layer(hidden @ weights.w2.T + weights.b2)
    return {"hidden": hidden, "v1": v1, "out": out, "v2": v2}


def through_time(grad_spikes: Array, membranes: Array, spikes: Array) -> Array:
    """Return the gradient of the currents, given that of the spikes, [T, B, n]."""
    surrogate = 1 / (1 + SLOPE * np.abs(membranes - 1)) ** 2
    grad = np.empty_like(membranes)
    carried = np.zeros_like(membranes[0])
    for t in range(len(membranes) - 1, -1, -1):
        # The reset is treated as a constant factor, which keeps the gradient bounded.
        carried = grad_spikes[t] * surrogate[t] + BETA * carried * (1 - spikes[t])
        grad[t] = carried
    return grad


def gradients(weights: Weights, x: Array, labels: Array) -> tuple[list[Array], float]:
    """Return the gradient of the cross entropy of the output spike counts, and the accuracy."""
    run = forward(weights, x)
    counts = run["out"].sum(0)
    logits = counts - counts.max(1, keepdims=True)
    odds = np.exp(logits)
    odds /= odds.sum(1, keepdims=True)
    accuracy = float((counts.argmax(1) == labels).mean())
    odds[np.arange(len(labels)), labels] -= 1
    grad_out = np.broadcast_to(odds / len(labels), run["out"].shape).astype(np.float32)
    g2 = through_time(grad_out, run["v2"], run["out"])
    g1 = through_time(g2 @ weights.w2, run["v1"], run["hidden"])
    return [
        np.einsum("tbh,tbp->hp", g1, x, optimize=True), g1.sum((0, 1)),
        np.einsum("tbc,tbh->ch", g2, run["hidden"], optimize=True), g2.sum((0, 1)),
    ], accuracy  # fmt: skip


class Adam:
    """Adam with its usual constants (Kingma and Ba 2015)."""

    def __init__(self, arrays: list[Array], rate: float) -> None:
        self.arrays, self.rate, self.step = arrays, rate, 0
        self.first = [np.zeros_like(a) for a in arrays]
        self.second = [np.zeros_like(a) for a in arrays]

    def update(self, grads: list[Array]) -> None:
        """Apply one step in place."""
        self.step += 1
        for array, grad, m, s in zip(self.arrays, grads, self.first, self.second, strict=True):
            m[...] = m + 0.1 * (grad - m)
            s[...] = s + 0.001 * (grad * grad - s)
            scale = self.rate / (1 - 0.9**self.step)
            array[...] = array - scale * m / (np.sqrt(s / (1 - 0.999**self.step)) + 1e-8)


def data() -> tuple[Array, Array, Array, Array]:
    """Return training images and labels, then test images and labels (80/20, seeded)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    order = np.random.default_rng(SEED).permutation(len(images))
    split = int(0.8 * len(images))
    train, test = order[:split], order[split:]
    return images[train], digits.target[train], images[test], digits.target[test]


def train(epochs: int) -> Weights:
    """Train from scratch; the same seed gives the same weights on the same machine."""
    images, labels, _, _ = data()
    rng = np.random.default_rng(SEED)
    weights = initial(rng)
    adam = Adam(weights.arrays(), 3e-3)
    for epoch in range(epochs):
        adam.rate = 3e-3 * 0.5 * (1 + np.cos(np.pi * epoch / epochs)) + 1e-4
        order = rng.permutation(len(images))
        scores = []
        for first in range(0, len(order), 96):
            batch = order[first : first + 96]
            grads, accuracy = gradients(weights, encode(images[batch], rng), labels[batch])
            adam.update(grads)
            scores.append(accuracy)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: training accuracy {np.mean(scores):.3f}")
    return weights.snapped()


def save(weights: Weights) -> None:
    """Write the model with snnir, so that its semantics travel in the file."""
    import snnir
    from snnir.ir import FrozenDict, Graph, Input, Linear, Neuron, Node, Value

    stepping = snnir.Stepping(integrator="euler", reset="zero")
    neuron = {"tau": TAU, "r": TAU / DT, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    params = FrozenDict({name: snnir.tensor(np.float64(v)) for name, v in neuron.items()})
    lif = Neuron("lif", params, stepping)
    first = Linear(snnir.tensor(weights.w1), snnir.tensor(weights.b1))
    second = Linear(snnir.tensor(weights.w2), snnir.tensor(weights.b2))
    pixels = Input(snnir.Signal(snnir.Kind.SPIKES, (PIXELS,)))
    chain = {"pixels": pixels, "fc1": first, "hidden": lif, "fc2": second, "digit": lif}
    names = list(chain)
    nodes = {
        name: Node(name, op, (Value(names[i - 1]),) if i else ())
        for i, (name, op) in enumerate(chain.items())
    }
    graph = Graph(nodes, {"output": Value("digit")}, dt=DT, name="digits")
    snnir.save(graph, MODEL)


def save_samples(weights: Weights) -> float:
    """Write test samples with the trainer's own spikes; returns the accuracy on all test data."""
    _, _, images, labels = data()
    x = encode(images, np.random.default_rng(SEED + 1))
    run = forward(weights, x)
    counts = run["out"].sum(0)
    np.savez_compressed(
        SAMPLES,
        x=np.packbits(x[:, :KEPT].astype(bool)),
        shape=np.array(x[:, :KEPT].shape),
        labels=labels[:KEPT].astype(np.int8),
        hidden=np.packbits(run["hidden"][:, :KEPT].astype(bool)),
        out=np.packbits(run["out"][:, :KEPT].astype(bool)),
    )
    return float((counts.argmax(1) == labels).mean())


def load_weights() -> Weights:
    """Return the weights of the committed model."""
    import snnir

    graph = snnir.load(MODEL)
    first, second = graph["fc1"].op.tensors(), graph["fc2"].op.tensors()
    return Weights(*(t.numpy() for t in (*first.values(), *second.values())))


def main() -> None:
    """Train and write, or check the committed model on the whole test set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=positive, default=60)
    parser.add_argument("--check", action="store_true", help="only evaluate the committed model")
    arguments = parser.parse_args()
    weights = load_weights() if arguments.check else train(arguments.epochs)
    if not arguments.check:
        save(weights)
    accuracy = save_samples(weights) if not arguments.check else evaluate(weights)
    print(f"test accuracy {accuracy:.4f}")


def evaluate(weights: Weights) -> float:
    """Return the accuracy on all test data."""
    _, _, images, labels = data()
    run = forward(weights, encode(images, np.random.default_rng(SEED + 1)))
    return float((run["out"].sum(0).argmax(1) == labels).mean())


if __name__ == "__main__":
    finish(main)
