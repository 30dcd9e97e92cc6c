"""Move a network trained in snnTorch to three other frameworks and to NIR, and compare spikes.

python -m examples.frameworks.move
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for what examples share

import snnir
from examples.command_line import finish
from examples.frameworks.train import PIXELS, load, test_set

Simulator = Callable[[torch.Tensor], torch.Tensor]

OTHERS = ("sinabs", "spikingjelly", "norse")
IMAGES = 200


class Row(NamedTuple):
    """A line of the table: how the output of a route compares with snnTorch's own."""

    route: str
    accuracy: float
    predictions: int
    spikes: int


def read(module: Any) -> snnir.Graph:
    """Return the graph of a live torch module of any of the four frameworks."""
    return snnir.from_torch(module, input_shape=(PIXELS,))


def simulator(module: Any, framework: str) -> Simulator:
    """Return the module as a function of spikes [T, B, 64]; Sinabs' layers take [B, T, 64]."""

    def batch_first(x: torch.Tensor) -> torch.Tensor:
        spikes: torch.Tensor = module(x.transpose(0, 1))
        return spikes.transpose(0, 1)

    run: Simulator = batch_first if framework == "sinabs" else module
    return run


def through_file(graph: snnir.Graph, folder: Path) -> snnir.Graph:
    """Write the graph as NIR and read it back."""
    path = folder / "net.nir"
    snnir.save(graph, path)
    return snnir.load(path)


def on_numpy(graph: snnir.Graph) -> Simulator:
    """Return snnir's own simulator, which shares no code with any framework."""
    compiled = snnir.compile(graph)
    return lambda x: torch.from_numpy(compiled.run(x.numpy()).output)


def chained(module: Any, folder: Path) -> Any:
    """Hand the network from framework to framework, each time reading the last one's module."""
    for framework in OTHERS:
        module = snnir.export(read(module), framework)
    return snnir.export(through_file(read(module), folder), "snntorch")


def routes(net: Any, folder: Path) -> Iterator[tuple[str, Simulator]]:
    """Yield each route's name and where it ends."""
    graph = read(net)
    for framework in OTHERS:
        yield f"snntorch > {framework}", simulator(snnir.export(graph, framework), framework)
    yield "snntorch > NumPy", on_numpy(graph)
    yield "snntorch > .nir > snntorch", snnir.export(through_file(graph, folder), "snntorch")
    yield f"snntorch > {' > '.join(OTHERS)} > .nir > snntorch", chained(net, folder)


def compare(route: str, spikes: torch.Tensor, own: torch.Tensor, labels: torch.Tensor) -> Row:
    """Compare output spikes [T, B, 10] with those of snnTorch itself."""
    # A missing step or a swapped axis could broadcast to something that looks equal.
    if spikes.shape != own.shape:
        raise ValueError(f"{route}: output {tuple(spikes.shape)}, expected {tuple(own.shape)}")
    predicted = spikes.sum(0).argmax(1)
    return Row(
        route,
        float((predicted == labels).float().mean()),
        int((predicted != own.sum(0).argmax(1)).sum()),
        int((spikes != own).sum()),
    )


@torch.no_grad()
def main() -> int:
    """Run every route and print the table; returns 1 if a prediction or a spike differs."""
    start = time.perf_counter()
    net = load().eval()
    x, labels = test_set()
    x, labels = x[:, :IMAGES], labels[:IMAGES]
    own = net(x)
    rows = [compare("snntorch itself", own, own, labels)]
    with tempfile.TemporaryDirectory() as folder:
        for route, run in routes(net, Path(folder)):
            rows.append(compare(route, run(x), own, labels))

    steps, images, classes = own.shape
    print(f"{images} test images, {steps} steps, {classes} outputs: {int(own.sum())} spikes\n")
    width = max(len(row.route) for row in rows)
    print(f"{'route':{width}}  accuracy  predictions  spikes that differ")
    for row in rows:
        print(f"{row.route:{width}}  {row.accuracy:8.1%}  {row.predictions:11}  {row.spikes:6}")
    print(f"\ntook {time.perf_counter() - start:.1f} s")
    return int(any(row.predictions or row.spikes for row in rows))


if __name__ == "__main__":
    finish(main)
