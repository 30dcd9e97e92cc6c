"""Compile a trained spiking classifier, run it from its folder, and compare every spike.

python examples/digits/demo.py [--target numpy] [--output DIR]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for what examples share

import snnir
from examples.command_line import finish
from snnir.plotting import raster

Array = npt.NDArray[Any]

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def load_samples() -> tuple[Array, Array, Array, Array]:
    """Return spikes [T, B, 64], labels, and the trainer's spikes of both layers."""
    with np.load(HERE / "samples.npz", allow_pickle=False) as data:
        steps, batch, pixels = (int(n) for n in data["shape"])

        def unpacked(name: str) -> Array:
            bits = np.unpackbits(data[name])
            size = bits.size // (steps * batch)
            return bits[: steps * batch * size].reshape(steps, batch, size).astype(np.float32)

        x = unpacked("x")[:, :, :pixels]
        return x, data["labels"], unpacked("hidden"), unpacked("out")


def main() -> int:
    """Run the demonstration; returns 1 if a spike differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="numpy")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "digits")
    arguments = parser.parse_args()
    start = time.perf_counter()

    graph = snnir.load(HERE / "digits.nir")
    print(f"model    {graph.name}: {len(graph)} nodes, dt = {graph.dt} s, from digits.nir")
    folder = snnir.compile(graph, arguments.target).save(arguments.output)
    print(f"compiled {arguments.target} artefact in {folder}")

    x, labels, hidden, out = load_samples()
    from_folder = snnir.run(folder, x, record=["hidden", "digit"])
    in_process = snnir.compile(graph).run(x, record=["hidden", "digit"])

    print(f"\n{'layer':10}{'neurons':>9}{'spikes':>10}{'rate':>9}   differing from the trainer")
    differing = 0
    for name, expected in (("hidden", hidden), ("digit", out)):
        stats = from_folder.stats[name]
        wrong = int((from_folder.recorded[name] != expected).sum())
        wrong += int((from_folder.recorded[name] != in_process.recorded[name]).sum())
        differing += wrong
        print(f"{name:10}{stats['neurons']:9}{stats['spikes']:10}{stats['rate']:9.4f}   {wrong}")

    predicted = from_folder.output.sum(axis=0).argmax(axis=1)
    right = int((predicted == labels).sum())
    print(f"\naccuracy {right}/{len(labels)} = {right / len(labels):.1%}")
    picture = folder.with_name(f"{folder.name}-raster.png")
    raster({"pixels": x, **from_folder.recorded}, picture, sample=0, dt=graph.dt)
    print(f"picture  {picture}")
    print(f"took     {time.perf_counter() - start:.1f} s")
    return 1 if differing else 0


if __name__ == "__main__":
    finish(main)
