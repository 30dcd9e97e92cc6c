"""The command line of a script that drives a chip through PyNN; copied into a folder."""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib

from snnir.folder_program import read_inputs, write_results
from snnir.targets.bss2.scripts.pynn_gain import measure_gain, tell_gain
from snnir.targets.bss2.scripts.pynn_network import run_all
from snnir.targets.bss2.scripts.script_io import read_artefact, results, samples

HEAD = '''\
"""Runs the network of this folder on a BrainScaleS-2 chip; written by snnir.

    python run_pynn.py INPUT.npy|INPUT.npz [-o OUT.npz]
    python run_pynn.py --measure-gain

Reads `model.bss2.json`. Needs the vendor's software (pynn_brainscales) and a chip, which it
calibrates to the targets in that file; the layer routes by itself, with neurons on the same
circuits. Inputs are numbers of events, [T, N] or [T, B, N]; samples run one after the other. The
result has the outputs and, as `record/ticks:NAME`, all spikes: rows of sample, neuron and tick of
8 ns.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import math
import pathlib
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
'''


def main() -> None:
    """Run inputs on the chip, or measure its gain."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("input", nargs="?", help="a .npy, or a .npz with one array per input")
    parser.add_argument("-o", "--output", default="output.npz", help="default: output.npz")
    parser.add_argument("--measure-gain", action="store_true", help="of the calibrated synapses")
    arguments = parser.parse_args()
    if (arguments.input is None) != arguments.measure_gain:
        parser.error("give either an input or --measure-gain")
    artefact = read_artefact(pathlib.Path(__file__).parent)
    given = None
    if arguments.input is not None:
        shapes = {port["name"]: tuple(port["shape"]) for port in artefact["inputs"]}
        given = read_inputs(arguments.input, shapes)
    try:
        pynn = importlib.import_module("pynn_brainscales.brainscales2")
    except ImportError as problem:
        raise SystemExit(f"the vendor's software is missing: {problem}") from None
    if given is None:
        print(tell_gain(artefact, measure_gain(pynn, artefact)))
        return
    todo = samples(artefact, given)
    run_all(pynn, artefact, todo)
    outputs, records = results(artefact, todo)
    write_results(arguments.output, outputs, records, {})
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}))
