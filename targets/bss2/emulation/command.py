"""The command line of an emitted folder; copied into it."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

import numpy as np

from snnir.c_build import NoCompiler
from snnir.folder_program import check_record, command_line, read_inputs, write_results
from snnir.targets.bss2.emulation.conditions import MODES_OF_RUNNING, Conditions
from snnir.targets.bss2.emulation.config_types import BadFolder
from snnir.targets.bss2.emulation.emulator import Model
from snnir.targets.bss2.emulation.monte_carlo import monte_carlo
from snnir.targets.bss2.emulation.variation import BadInput, Sigmas

HEAD = '''\
"""Emulates the chip that `model.bss2.json` beside this file configures; written by snnir.

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE|NODE:v ...]
        [--mode ideal|mismatch|euler] [--seed N] [--noise] [--noise-seed N] [--sigma NAME=SIZE ...]
        [--chips N] [--arbitrate] [--serial] [--cadc sampled|ideal] [--cadc-period US]

Needs NumPy; where there is no C compiler it runs in Python, slowly. With --chips, outputs and
records have a leading axis of virtual chips, those of seeds N, N + 1, ...
"""

from __future__ import annotations

import argparse
import bisect
import copy
import ctypes
import difflib
import hashlib
import importlib.util
import json
import math
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
'''


def main() -> None:
    """Run events through the chip."""
    arguments = _arguments()
    folder = pathlib.Path(__file__).parent
    try:
        how = _conditions(arguments)
        try:
            model = Model.load(folder)
        except NoCompiler as problem:
            print(f"{problem}; running in Python, slowly", file=sys.stderr)
            model = Model.load(folder, compiled=False)
        check_record(arguments.record, model.recordable)
        shapes = {name: port.shape for name, port in model.config.inputs.items()}
        given = read_inputs(arguments.input, shapes)
        if arguments.chips is None:
            outputs, records, sums = model.run(given, arguments.record, how)
        else:
            outputs, records, sums = _chips(model, given, arguments, how)
    except (BadFolder, BadInput) as problem:
        raise SystemExit(str(problem)) from None
    except MemoryError:
        raise SystemExit("there is not enough memory for this run") from None
    write_results(arguments.output, outputs, records, sums)
    shown = {name: list(y.shape) for name, y in outputs.items()}
    print(json.dumps({**shown, "stats": model.stats} if model.stats else shown))


def _arguments() -> argparse.Namespace:
    parser = command_line(str(__doc__))
    parser.add_argument("--mode", choices=MODES_OF_RUNNING)
    parser.add_argument("--seed", type=int, default=0, help="of the virtual chip")
    parser.add_argument("--noise", action="store_true", help="trials differ from each other")
    parser.add_argument("--noise-seed", type=int, help="of the trial; implies --noise")
    parser.add_argument("--sigma", action="append", default=[], metavar="NAME=SIZE")
    parser.add_argument("--chips", type=int, metavar="N", help="run N virtual chips")
    parser.add_argument("--arbitrate", action="store_true", help="buses drop what is too much")
    parser.add_argument("--serial", action="store_true", help="the host's link delays events")
    parser.add_argument("--cadc", choices=("sampled", "ideal"), default="sampled")
    parser.add_argument("--cadc-period", type=float, default=1.7, metavar="US")
    return parser.parse_args()


def _conditions(arguments: argparse.Namespace) -> Conditions:
    mode = arguments.mode or ("ideal" if arguments.chips is None else "mismatch")
    if arguments.chips is not None and (arguments.chips < 1 or mode != "mismatch"):
        raise BadInput("--chips is a number of virtual chips, from 1, in mode 'mismatch'")
    noise = arguments.noise_seed
    if noise is None and arguments.noise:
        noise = 0
    return Conditions(
        mode, arguments.seed, noise, Sigmas.parse(*arguments.sigma), arguments.arbitrate,
        arguments.serial, arguments.cadc, arguments.cadc_period,
    )  # fmt: skip


def _chips(model: Model, given: Any, arguments: argparse.Namespace, how: Conditions) -> Any:
    """Return outputs and records with a leading axis of chips, and the spikes of all."""
    found = monte_carlo(model, given, arguments.chips, how, record=arguments.record, progress=True)
    outputs, records = (
        {name: np.stack([run[k][name] for run in found]) for name in found[0][k]} for k in (0, 1)
    )
    sums = {name: sum(run[2][name] for run in found) for name in found[0][2]}
    return outputs, records, sums
