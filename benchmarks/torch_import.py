"""What importing a torch model costs, beside one forward pass: `x.py bench torch_import`.

A net of 20 convolutional layers with their neurons, in the styles of three frameworks: the time of
one forward pass over 3 steps, and of `snnir.from_torch`. The ratio of both is the result.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import snnir
from benchmarks._shown import shown

STEPS, BATCH = 3, 2


def layers(channels: int, neuron: Callable[[], nn.Module]) -> nn.Sequential:
    """20 convolutions of 3 x 3, each followed by a neuron."""
    parts: list[nn.Module] = []
    for index in range(20):
        parts += [nn.Conv2d(3 if index == 0 else channels, channels, 3, padding=1), neuron()]
    return nn.Sequential(*parts)


def snntorch(channels: int) -> nn.Module:
    """A Sequential with hidden states, called once per step."""
    import snntorch as snn

    return layers(channels, lambda: snn.Leaky(beta=0.9, init_hidden=True))


def sinabs(channels: int) -> nn.Module:
    """A Sequential over time and batch merged."""
    import sinabs.layers as sl

    return layers(channels, lambda: sl.IAFSqueeze(batch_size=BATCH))


def spikingjelly(channels: int) -> nn.Module:
    """A Sequential in multi-step mode."""
    from spikingjelly.activation_based import functional, layer, neuron

    logging.disable(logging.WARNING)
    parts: list[nn.Module] = []
    for index in range(20):
        parts.append(layer.Conv2d(3 if index == 0 else channels, channels, 3, padding=1))
        parts.append(neuron.LIFNode())
    net = nn.Sequential(*parts)
    functional.set_step_mode(net, "m")
    return net


def forward(name: str, net: nn.Module, x: Any) -> None:
    """One pass of the model over all steps, from rest."""
    with torch.no_grad():
        if name == "snntorch":
            for now in x:
                net(now)
        elif name == "sinabs":
            net(x.transpose(0, 1).flatten(0, 1))
        else:
            from spikingjelly.activation_based import functional

            functional.reset_net(net)
            net(x)


def seconds(action: Callable[[], Any], repeats: int) -> float:
    """Return the shortest time of several runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Print a table of times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    shape = (3, options.size, options.size)
    x = torch.rand(STEPS, BATCH, *shape)
    print(f"20 layers, {options.channels} channels, {options.size} x {options.size} pixels")
    print("| framework | forward s | import s | import / forward | import - 2 forward s |")
    print("| --- | --- | --- | --- | --- |")
    for make in shown((snntorch, sinabs, spikingjelly)):
        net = make(options.channels)
        forward(make.__name__, net, x)
        one = seconds(lambda net=net, make=make: forward(make.__name__, net, x), options.repeats)  # type: ignore[misc]
        two = seconds(lambda net=net: snnir.from_torch(net, shape), options.repeats)  # type: ignore[misc]
        print(
            f"| {make.__name__} | {one:.2f} | {two:.2f} | {two / one:.2f} | {two - 2 * one:.2f} |"
        )


if __name__ == "__main__":
    main()
