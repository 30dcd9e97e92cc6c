"""Train a convolutional digits classifier for a Speck chip: weights of 8 bits from the start.

    python examples/speck/train.py [--epochs 40] [--check]

1x8x8 pixels, convolution 16@3x3, pool 2, convolution 32@3x3, pool 2, 10 classes; neurons that
integrate and fire, without leak and bias, reset by subtraction. Pixels are rate coded: each is a
Bernoulli spike train of 32 steps; the class is the output with the most spikes. `snnir.to_torch`
makes the trainable network. Before every pass its weights are rounded to the 256 values that a
core can hold, and the gradients go to the weights that are not rounded (straight through; Hubara
et al., JMLR 2018).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for what examples share

import snnir
from examples.command_line import finish, positive
from snnir.progress import counted

Array = npt.NDArray[Any]

HERE = Path(__file__).parent
MODEL, SAMPLES = HERE / "digits_conv.nir", HERE / "samples.npz"
STEPS, SEED, KEPT, RATE = 32, 2026, 200, 0.3
DT = 1e-3


def network(rng: np.random.Generator) -> snnir.Graph:
    """Return the network with random weights."""

    def weights(out: int, *fan_in: int) -> Array:
        scaled: Array = rng.standard_normal((out, *fan_in)) / np.sqrt(np.prod(fan_in))
        return scaled.astype(np.float32)

    def neurons(*shape: int) -> nir.IF:
        # NIR integrates dv/dt = r x: with r = 1 / dt a spike adds its weight.
        return nir.IF(r=np.full(shape, 1 / DT), v_threshold=np.ones(shape))

    layers = {
        "input": nir.Input({"input": np.array([1, 8, 8])}),
        "conv1": nir.Conv2d((8, 8), weights(16, 1, 3, 3), 1, 1, 1, 1, np.zeros(16)),
        "if1": neurons(16, 8, 8),
        "pool1": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "conv2": nir.Conv2d((4, 4), weights(32, 16, 3, 3) / 4, 1, 1, 1, 1, np.zeros(32)),
        "if2": neurons(32, 4, 4),
        "pool2": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([32, 2, 2])}, 0, -1),
        "fc": nir.Linear(weights(10, 128) / 4),
        "if3": neurons(10),
        "output": nir.Output({"output": np.array([10])}),
    }
    names = list(layers)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "digits_conv.nir"
        nir.write(path, nir.NIRGraph(layers, list(pairwise(names))))
        graph = snnir.load(path, semantics="exact", dt=DT, reset="subtract", compare="ge")
    graph = graph.apply("declare-inputs{kind=counts}")
    editor = graph.edit()
    for node in graph.nodes.values():
        if node.op.name == "conv2d":  # NIR's convolutions have biases; a core has none per step
            editor.set_op(node.name, replace(node.op, bias=None))  # type: ignore[call-arg]
    return editor.graph().verify()


def data() -> tuple[Array, Array, Array, Array]:
    """Return training images and labels, then test images and labels (80/20, seeded)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(images))
    pixels = (images[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    cut = len(order) * 4 // 5
    found = labels[order]
    return pixels[:cut], found[:cut], pixels[cut:], found[cut:]


def encode(images: Array, rng: np.random.Generator) -> Array:
    """Return Bernoulli spike trains [T, B, 1, 8, 8] of images with pixels in 0..1."""
    spikes: Array = rng.random((STEPS, *images.shape)) < RATE * images
    return spikes.astype(np.float32)


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """Return weights on the grid of 8 bits, -128 to 127, that the largest of them spans."""
    unit = torch.maximum(weight.max() / 127, -weight.min() / 128)
    return torch.round(weight / unit) * unit


def train(graph: snnir.Graph, epochs: int) -> snnir.Graph:
    """Return the trained graph; its weights are on their grids."""
    images, labels, *_ = data()
    rng = np.random.default_rng(SEED)
    net = snnir.to_torch(
        graph, surrogate="fast_sigmoid{slope=5}", detach_reset=True, trained="weights"
    )
    latent = {
        name: p.detach().clone().requires_grad_()
        for name, p in net.named_parameters()
        if p.requires_grad
    }
    optimiser = torch.optim.Adam(latent.values(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in counted(range(epochs), "training"):
        order = rng.permutation(len(images))
        right = 0
        for batch in np.array_split(order, len(order) // 64):
            place_weights(net, latent)
            counts = net(torch.from_numpy(encode(images[batch], rng))).sum(0)
            target = torch.from_numpy(labels[batch])
            loss = torch.nn.functional.cross_entropy(counts / 4, target)
            net.zero_grad()
            loss.backward()
            for name, parameter in net.named_parameters():
                if name in latent:
                    latent[name].grad = parameter.grad
            optimiser.step()
            right += int((counts.argmax(1) == target).sum())
        schedule.step()
        print(f"epoch {epoch + 1}: {right / len(images):.1%} of the training images")
    place_weights(net, latent)
    return snnir.update(graph, net)


def place_weights(net: Any, latent: dict[str, torch.Tensor]) -> None:
    """Put rounded weights into the network."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name in latent:
                parameter.copy_(rounded(latent[name]))


def accuracy(graph: snnir.Graph, x: Array, labels: Array, target: str, **options: Any) -> float:
    """Return the share of samples that a target classifies rightly."""
    counts = snnir.compile(graph, target, **options).run(x).output.sum(0)
    return float((counts.argmax(1) == labels).mean())


def main() -> None:
    """Train and save, or check what is there."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=positive, default=40)
    parser.add_argument("--check", action="store_true", help="only measure the committed model")
    arguments = parser.parse_args()
    *_, images, labels = data()
    x = encode(images, np.random.default_rng(SEED + 1))
    if not arguments.check:
        trained = train(network(np.random.default_rng(SEED)), arguments.epochs)
        snnir.save(trained, MODEL)
        np.savez_compressed(SAMPLES, x=x[:, :KEPT].astype(np.uint8), labels=labels[:KEPT])
    graph = snnir.load(MODEL)
    for target in ("numpy", "speck"):
        print(f"{target}: {accuracy(graph, x, labels, target):.1%} of {len(labels)} test images")


if __name__ == "__main__":
    finish(main)
