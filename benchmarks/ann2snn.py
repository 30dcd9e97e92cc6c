"""Accuracy of converted networks against the number of steps: `x.py bench ann2snn`.

A small convolutional network is trained on scikit-learn's digits, then converted by SpikingJelly's
converter and Sinabs (where they are installed) and by the pass `ann2snn` in all its modes; every
converted network answers by the mean of its outputs over T steps.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import snnir
from snnir.ir import Graph

STEPS = (4, 8, 16, 32, 64)
CALIBRATION = 200


def digits() -> tuple[Any, ...]:
    """Return training and test pictures [N, 1, 8, 8] in 0 … 1 and their labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    pictures = (data.images[:, None] / 16).astype(np.float32)
    return tuple(train_test_split(pictures, data.target, test_size=0.3, random_state=0))


def trained(x: Any, y: Any) -> nn.Sequential:
    """Return a trained network."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    given, wanted = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(15):
        for rows in torch.randperm(len(given)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(given[rows]), wanted[rows]).backward()
            optimiser.step()
    return net.eval()


def by_pass(net: nn.Module, x: Any, options: str) -> Graph:
    """Return the network converted by the pass."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, x[None])
        graph = snnir.from_torch(net, x.shape[1:])
        return graph.apply(f'fold-batchnorm,ann2snn{{{options},calibrate="{path}"}},fuse-linear')


def answers(graph: Graph, x: Any) -> Callable[[int], Any]:
    """Return a function from T to the answers."""
    made = snnir.compile(graph, "torch")
    repeated = np.repeat(x[None], max(STEPS), axis=0)
    outputs = np.asarray(made.run(repeated).output)
    return lambda steps: outputs[:steps].mean(0).argmax(1)


def spikingjelly(net: nn.Module, x: Any, test: Any, **options: Any) -> Callable[[int], Any]:
    """Return the answers of SpikingJelly's conversion."""
    from spikingjelly.activation_based import ann2snn, functional

    recipe = ann2snn.RateCodingRecipe(dataloader=[torch.from_numpy(x)], **options)
    made = ann2snn.Converter(recipe).convert(net)
    functional.reset_net(made)
    outputs = torch.stack([made(torch.from_numpy(test)) for _ in range(max(STEPS))]).numpy()
    return lambda steps: outputs[:steps].mean(0).argmax(1)


def sinabs(net: nn.Module, x: Any, test: Any, normalise: bool) -> Callable[[int], Any]:
    """Return the answers of Sinabs' conversion."""
    import copy

    from sinabs.from_torch import from_model
    from sinabs.utils import normalize_weights

    own = copy.deepcopy(net)
    if normalise:
        names = [name for name, _ in own.named_children()]
        relus = [n for n, m in own.named_children() if isinstance(m, nn.ReLU)]
        layers = [
            next(p for p in reversed(names[: names.index(r)]) if hasattr(own[int(p)], "weight")
                 and not isinstance(own[int(p)], nn.BatchNorm2d))
            for r in relus
        ]  # fmt: skip
        normalize_weights(own, torch.from_numpy(x), relus, layers)
    made = from_model(own, input_shape=x.shape[1:], batch_size=len(test)).spiking_model
    repeated = np.repeat(test[:, None], max(STEPS), axis=1).reshape(-1, *test.shape[1:])
    outputs = made(torch.from_numpy(repeated)).reshape(len(test), max(STEPS), -1).numpy()
    return lambda steps: outputs[:, :steps].mean(1).argmax(1)


def main() -> None:
    """Train, convert, and print the table."""
    warnings.simplefilter("ignore")
    x, test, y, wanted = digits()
    net = trained(x, y)
    few = x[:CALIBRATION]
    with torch.no_grad():
        ann = (net(torch.from_numpy(test)).argmax(1).numpy() == wanted).mean()
    ways: dict[str, Callable[[], Callable[[int], Any]]] = {
        "SpikingJelly max": lambda: spikingjelly(net, few, test, mode="max"),
        "SpikingJelly 99.9%": lambda: spikingjelly(net, few, test, mode="99.9%"),
        "SpikingJelly 0.5": lambda: spikingjelly(net, few, test, mode=0.5),
        "SpikingJelly max, channels": lambda: spikingjelly(
            net, few, test, mode="max", channel_wise=True
        ),
        "SpikingJelly 99.9%, channels, half": lambda: spikingjelly(
            net, few, test, mode="99.9%", channel_wise=True, half_threshold=True
        ),
        "Sinabs": lambda: sinabs(net, few, test, False),
        "Sinabs, normalised": lambda: sinabs(net, few, test, True),
    }
    ours = ["mode=max", "mode=percentile", "mode=factor,factor=0.5", "mode=max,channel-wise"]
    ours += ["mode=percentile,channel-wise,half-threshold", "mode=sinabs"]
    ours += [f"mode=calibrated,steps={steps}" for steps in STEPS]
    for options in ours:
        ways[f"`{options}`"] = lambda o=options: answers(by_pass(net, few, o), test)  # type: ignore[misc]
    print(f"{len(wanted)} test pictures, the network itself {ann:.1%}; calibrated on {len(few)}\n")
    print("| conversion | " + " | ".join(f"T = {steps}" for steps in STEPS) + " |")
    print("|" + " --- |" * (1 + len(STEPS)))
    for name, way in ways.items():
        try:
            with torch.no_grad():
                answer = way()
        except ImportError as missing:
            print(f"| {name} | not installed ({missing.name}) |")
            continue
        cells = [f"{(answer(steps) == wanted).mean():.1%}" for steps in STEPS]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
