"""What integers cost in spikes and accuracy: `x.py bench quantization [--corpus FOLDER]`.

The digits classifier of the examples at several widths: correct answers, and the share of spikes
that differ from floating point. With the published N-MNIST network in FOLDER also its layers, on
event-like random input. Every integer graph runs on all simulators; the last column says whether
their spikes are equal.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import snnir
from benchmarks._shown import shown
from examples.digits.demo import load_samples
from snnir.ir import Graph

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = [
    "bits=8", "bits=6", "bits=4", "bits=3", "bits=2",
    "bits=4,calibration=mse", "bits=3,calibration=mse", "bits=4,per-channel=false",
    "bits=4,zero-point", "bits=3,zero-point", "bits=2,zero-point", "bits=4,balance",
    "bits=3,balance", "bits=2,balance", "bits=2,zero-point,calibration=mse,balance",
    "bits=8,state-bits=12", "bits=8,state-bits=8", "bits=8,factor-bits=6", "bits=8,shifts",
    "bits=8,rounding=floor", "bits=16,state-bits=24",
]  # fmt: skip
EVENTS = [
    "bits=8",
    "bits=6",
    "bits=4",
    "bits=4,zero-point",
    "bits=4,balance",
    "bits=16,state-bits=24",
]


def runs(graph: Graph, x: Any) -> tuple[dict[str, Any], bool]:
    """Return the spikes of every population, and whether all simulators give the same."""
    names = list(snnir.populations(graph))
    found = snnir.compile(graph, "numpy").run(x, names).recorded
    equal = True
    for target in ("torch", "xla", "native"):
        if target == "native" or importlib.util.find_spec({"xla": "jax"}.get(target, target)):
            other = snnir.compile(graph, target).run(x, names).recorded
            equal &= all(np.array_equal(found[name], other[name]) for name in names)
    return found, equal


def shares(plain: dict[str, Any], made: dict[str, Any]) -> str:
    """Return the differing spikes of every population, of its spikes in floating point."""
    return ", ".join(
        f"{name} {(made[name] != y).sum() / max(1.0, y.sum()):.2%}" for name, y in plain.items()
    )


def digits(calibrate: Path) -> None:
    """Print the table of the classifier."""
    x, labels, _, _ = load_samples()
    np.savez(calibrate, pixels=x[:, :20])
    graph = snnir.load(ROOT / "examples" / "digits" / "digits.nir").apply("discretize")
    plain, _ = runs(graph, x)
    last = list(plain)[-1]
    print(f"digits, {len(labels)} images, calibrated on 20\n")
    print("| options | correct | differing spikes, of those in float | equal on all |")
    print("| --- | --- | --- | --- |")
    right = int((plain[last].sum(0).argmax(1) == labels).sum())
    print(f"| float32 | {right / len(labels):.1%} | | |")
    for text in shown(WIDTHS):
        made = graph.apply(f'quantize{{{text},calibrate="{calibrate}"}}')
        found, equal = runs(made, x)
        right = int((found[last].sum(0).argmax(1) == labels).sum())
        print(f"| `{text}` | {right / len(labels):.1%} | {shares(plain, found)} | {equal} |")


def events(path: Path, calibrate: Path) -> None:
    """Print the table of the published network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = snnir.load(path, semantics="sinabs").apply("discretize")
    rng = np.random.default_rng(0)
    rate = rng.random((1, 4, *graph.inputs["input"].shape)) ** 6 * 0.3  # few busy pixels
    x = (rng.random((60, *rate.shape[1:])) < rate).astype(np.float32)
    np.savez(calibrate, input=x[:, :1])
    plain, _ = runs(graph, x)
    print(f"\n{path.name}, {x.mean():.1%} of the input active, calibrated on one of 4 samples\n")
    print("| options | differing spikes, of those in float | equal on all |")
    print("| --- | --- | --- |")
    for text in shown(EVENTS):
        made = graph.apply(f'declare-inputs,fuse-linear,quantize{{{text},calibrate="{calibrate}"}}')
        found, equal = runs(made, x)
        print(f"| `{text}` | {shares(plain, found)} | {equal} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared" / "corpus")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        digits(Path(folder) / "digits.npz")
        path = arguments.corpus / "nmnist_cnn_sinabs.nir"
        if path.exists():
            events(path, Path(folder) / "events.npz")


if __name__ == "__main__":
    main()
