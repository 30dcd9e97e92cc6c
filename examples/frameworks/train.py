"""Train a spiking classifier of scikit-learn's digits in snnTorch, and save its weights.

python -m examples.frameworks.train [--epochs 15] [--check]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import snntorch as snn
import torch
from safetensors.torch import load_file, save_file
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for what examples share

from examples.command_line import finish, positive

WEIGHTS = Path(__file__).with_name("net.safetensors")

PIXELS, HIDDEN, CLASSES = 64, 96, 10
STEPS = 40
BETA = 0.9
GRID = 256
BATCH = 64
RATE = 4e-3
SEED = 2026


class Net(nn.Module):
    """Two layers of leaky neurons, as snnTorch's tutorials write them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(PIXELS, HIDDEN)
        self.lif1 = snn.Leaky(beta=BETA)
        self.fc2 = nn.Linear(HIDDEN, CLASSES)
        self.lif2 = snn.Leaky(beta=BETA)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the spikes [T, B, 10] of the output layer for input spikes [T, B, 64]."""
        mem1 = self.lif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        recorded = []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            recorded.append(spk2)
        return torch.stack(recorded, dim=0)


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return training images [N, 64] in 0..1 and labels, then those of the test (80/20, seeded)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy((digits.data / 16).astype(np.float32))
    labels = torch.from_numpy(digits.target.astype(np.int64))
    order = torch.randperm(len(images), generator=generator(0))
    split = int(0.8 * len(order))
    train, test = order[:split], order[split:]
    return images[train], labels[train], images[test], labels[test]


def generator(stream: int) -> torch.Generator:
    """Return a generator of its own for each use, so that none depends on what another drew."""
    return torch.Generator().manual_seed(SEED + stream)


def encode(images: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """Return Bernoulli spike trains [T, B, 64]: each pixel spikes at the rate of its brightness."""
    return (torch.rand((STEPS, *images.shape), generator=source) < images).float()


def test_set() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the spikes [T, B, 64] of the test images, the same at each call, and the labels."""
    _, _, images, labels = data()
    return encode(images, generator(1)), labels


def train(epochs: int) -> Net:
    """Train from scratch on the spike counts, with weights on the grid at the end."""
    images, labels, _, _ = data()
    torch.manual_seed(SEED)
    source = generator(2)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        right = 0
        for batch in torch.randperm(len(images), generator=source).split(BATCH):
            counts = net(encode(images[batch], source)).sum(0)
            optimizer.zero_grad()
            nn.functional.cross_entropy(counts, labels[batch]).backward()
            optimizer.step()
            right += int((counts.argmax(1) == labels[batch]).sum())
        schedule.step()
        print(f"epoch {epoch + 1:2}: training accuracy {right / len(images):.3f}")
    print(f"test accuracy {accuracy(net):.4f} before the weights are rounded")
    snap(net)
    return net


@torch.no_grad()
def snap(net: Net) -> None:
    """Round the weights to multiples of 1/256, in place.

    A matrix product may add in any order, and each library and each batch size picks its own. With
    arbitrary weights the sums then differ in the last bit, and sooner or later a neuron close to
    its threshold fires in one place and not in the other. Spikes are 0 or 1, so sums of weights on
    this grid are multiples of 1/256 themselves; below 2**16 they fit the 24 bits of a float32, no
    addition rounds, and every order gives the same sum.
    """
    for layer in (net.fc1, net.fc2):
        for parameter in (layer.weight, layer.bias):
            parameter.copy_(torch.round(parameter * GRID) / GRID)


@torch.no_grad()
def accuracy(net: nn.Module) -> float:
    """Return the accuracy on all test images; the class is the output with the most spikes."""
    x, labels = test_set()
    return float((net(x).sum(0).argmax(1) == labels).float().mean())


def save(net: Net) -> None:
    """Write the parameters, and the neurons' constants that snnTorch keeps as buffers."""
    save_file(net.state_dict(), WEIGHTS)


def load() -> Net:
    """Return the network with the committed weights."""
    net = Net()
    net.load_state_dict(load_file(WEIGHTS))
    return net


def main() -> None:
    """Train and write, or check the committed weights on the whole test set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=positive, default=15)
    parser.add_argument("--check", action="store_true", help="only evaluate the committed weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the same weights whatever the number of cores
    start = time.perf_counter()
    net = load() if arguments.check else train(arguments.epochs)
    if not arguments.check:
        save(net)
    print(f"test accuracy {accuracy(net):.4f}, weights are multiples of 1/{GRID}")
    print(f"took {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    finish(main)
