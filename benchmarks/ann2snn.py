"""Accuracy of converted networks against the number of steps: `x.py bench ann2snn`.

A small convolutional network is trained on scikit-learn's digits under noise (without it every
conversion is right), then converted by SpikingJelly's converter and Sinabs (where they are
installed) and by the pass `ann2snn` in all its modes; every converted network answers by the mean
of its outputs over T steps. The numbers are means over several trainings.
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
from benchmarks._shown import shown
from snnir.ir import Graph

STEPS = (4, 8, 16, 32, 64)
CALIBRATION, NOISE, TRAININGS = 200, 0.3, 10


def digits(seed: int) -> tuple[Any, ...]:
    """Return training and test pictures [N, 1, 8, 8] with noise, and their labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    clean = data.images[:, None] / 16
    noise = np.random.default_rng(seed).normal(0.0, NOISE, clean.shape)
    pictures = (clean + noise).astype(np.float32)
    return tuple(train_test_split(pictures, data.target, test_size=0.3, random_state=0))


def trained(x: Any, y: Any, seed: int) -> nn.Sequential:
    """Return a trained network."""
    torch.manual_seed(seed)
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


def conversions(net: nn.Module, few: Any, test: Any) -> dict[str, Callable[[], Any]]:
    """Return every conversion, ready to be made: each gives a function from T to answers."""

    def theirs(**options: Any) -> Callable[[], Any]:
        return lambda: spikingjelly(net, few, test, **options)

    def ours(options: str) -> Callable[[], Any]:
        return lambda: answers(by_pass(net, few, options), test)

    def matched(options: str) -> Callable[[], Any]:
        """Return conversions made for each T."""
        return lambda: lambda steps: ours(f"{options},steps={steps}")()(steps)

    options = ["mode=max", "mode=percentile", "mode=factor,factor=0.5", "mode=max,channel-wise"]
    options += ["mode=percentile,channel-wise,half-threshold"]
    return {
        "SpikingJelly max": theirs(mode="max"),
        "SpikingJelly 99.9%": theirs(mode="99.9%"),
        "SpikingJelly 0.5": theirs(mode=0.5),
        "SpikingJelly max, channels": theirs(mode="max", channel_wise=True),
        "SpikingJelly 99.9%, channels, half": theirs(
            mode="99.9%", channel_wise=True, half_threshold=True
        ),
        "Sinabs (several spikes per step)": lambda: sinabs(net, few, test, False),
        "Sinabs, normalised": lambda: sinabs(net, few, test, True),
        **{f"`{text}`": ours(text) for text in options},
        "`mode=calibrated,steps=T`": matched("mode=calibrated"),
        "`mode=calibrated,multi-spike,steps=T`": matched("mode=calibrated,multi-spike"),
    }


def main() -> None:
    """Train, convert, and print the table."""
    warnings.simplefilter("ignore")
    right: dict[str, list[list[float]]] = {}
    for seed in shown(range(TRAININGS), "training and converting"):
        x, test, y, wanted = digits(seed)
        net = trained(x, y, seed)
        with torch.no_grad():
            own = (net(torch.from_numpy(test)).argmax(1).numpy() == wanted).mean()
            right.setdefault("the network itself", []).append([own] * len(STEPS))
            for name, convert in conversions(net, x[:CALIBRATION], test).items():
                try:
                    answer = convert()
                except ImportError:
                    continue
                found = [float((answer(steps) == wanted).mean()) for steps in STEPS]
                right.setdefault(name, []).append(found)
    pictures = f"{TRAININGS} trainings, {len(wanted)} test pictures each"
    print(f"{pictures}, noise {NOISE}; calibrated on {CALIBRATION}\n")
    print("| conversion | " + " | ".join(f"T = {steps}" for steps in STEPS) + " |")
    print("|" + " --- |" * (1 + len(STEPS)))
    for name, rows in right.items():
        print(f"| {name} | {' | '.join(f'{share:.1%}' for share in np.mean(rows, 0))} |")


if __name__ == "__main__":
    main()
