"""The command line of a script that drives a chip through hxtorch; copied into a folder."""

from __future__ import annotations

import argparse
import json
import pathlib

from snnir.folder_program import read_inputs, write_results
from snnir.targets.bss2.scripts.hxtorch_network import Library, Network, problems
from snnir.targets.bss2.scripts.script_io import read_artefact

HEAD = '''\
"""Runs the network of this folder with hxtorch, on a BrainScaleS-2 chip or in software; by snnir.

    python run_hxtorch.py INPUT.npy|INPUT.npz [-o OUT.npz] [--mock] [--calibration PATH]

Reads `model.bss2.json`. Needs the vendor's software and, without `--mock`, a chip, which it
calibrates to the targets in that file unless it gets a calibration (`.pkl` or `.pbin`). Inputs are
[T, N] or [T, B, N], at most one event for each step. `--mock` computes the same network in
software by forward Euler, one step of the model at a time, excitation and inhibition with the time
constant of excitation. Feed-forward networks only.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import math
import pathlib
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
'''


def main() -> None:
    """Run inputs on the chip, or in software."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("input", help="a .npy, or a .npz with one array per input")
    parser.add_argument("-o", "--output", default="output.npz", help="default: output.npz")
    parser.add_argument("--mock", action="store_true", help="in software, without a chip")
    parser.add_argument("--calibration", metavar="PATH", help="instead of calibrating")
    arguments = parser.parse_args()
    artefact = read_artefact(pathlib.Path(__file__).parent)
    found = problems(artefact)
    if found:
        raise SystemExit("\n".join(found))
    shapes = {port["name"]: tuple(port["shape"]) for port in artefact["inputs"]}
    given = read_inputs(arguments.input, shapes)
    if any(((x != 0) & (x != 1)).any() for x in given.values()):
        raise SystemExit("hxtorch takes at most one event of a channel in a step: give 0 and 1")
    try:
        library = Library()
    except ImportError as problem:
        raise SystemExit(f"the vendor's software is missing: {problem}") from None
    if not arguments.mock:
        library.hxtorch.init_hardware()
    try:
        network = Network(library, artefact, arguments.mock, arguments.calibration)
        outputs = network.run(given)
    finally:
        if not arguments.mock:
            library.hxtorch.release_hardware()
    write_results(arguments.output, outputs, {}, {})
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}))
