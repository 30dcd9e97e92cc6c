"""The emulated Speck on the project's digits: accuracy, speed, and what the order of visits moves.

x.py bench speck [--model FILE] [--semantics NAME] [--rate R] [--steps T] [--batch B]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import snnir
from benchmarks._shown import shown

HERE = Path(__file__).resolve().parent.parent / "examples" / "speck"


def digits() -> None:
    """Print the accuracy on the chip beside that of the stepped model."""
    graph = snnir.load(HERE / "digits_conv.nir")
    with np.load(HERE / "samples.npz") as data:
        x, labels = data["x"].astype(np.float32), data["labels"]
    for target in shown(("numpy", "speck")):
        built = snnir.compile(graph, target)
        built.run(x)
        start = time.perf_counter()
        counts = built.run(x).output.sum(0)
        seconds = time.perf_counter() - start
        right = (counts.argmax(1) == labels).mean()
        print(f"{target}: {right:.1%} of {len(labels)} samples, {seconds:.3f} s")


def layers(graph: snnir.Graph, x: Any) -> None:
    """Print spikes of every population on the chip, in the other order, and stepped."""
    chip: Any = snnir.compile(graph, "speck")
    names = list(chip.ports["populations"])
    chip.run(x)
    start = time.perf_counter()
    run = chip.run(x, names)
    seconds = time.perf_counter() - start
    turned = chip.run(x, names, reverse=True)
    stepped = snnir.compile(graph).run(x, names)
    print(f"{int(x.sum()):,} input events, {seconds:.3f} s")
    for name in names:
        ours, theirs, other = (r.recorded[name] for r in (run, stepped, turned))
        near = np.corrcoef(ours.sum(0).reshape(-1), theirs.sum(0).reshape(-1))[0, 1]
        moved = np.abs(ours - other).sum() / ours.sum()
        counts = np.abs(ours.sum(0) - other.sum(0)).sum() / ours.sum()
        print(
            f"{name}: {ours.sum():,.0f} spikes, stepped {theirs.sum():,.0f}, correlation "
            f"{near:.3f}; the other order moves {moved:.0%} of spikes, {counts:.0%} of counts"
        )


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", help="a model to compare layer by layer on random events")
    parser.add_argument("--semantics", default="sinabs")
    parser.add_argument("--rate", type=float, default=0.004)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args(sys.argv[1:])
    digits()
    if arguments.model:
        graph = snnir.load(arguments.model, semantics=arguments.semantics)
        ((_, signal),) = graph.inputs.items()
        shape = arguments.steps, arguments.batch, *signal.shape
        layers(graph, (np.random.default_rng(0).random(shape) < arguments.rate).astype(np.float32))


if __name__ == "__main__":
    main()
