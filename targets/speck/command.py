"""The command line of an emitted folder; copied into it."""

from __future__ import annotations

import json
import pathlib
import sys

from snnir.c_build import NoCompiler
from snnir.folder_program import check_record, command_line, read_inputs, write_results
from snnir.targets.speck.chip_reader import BadFolder
from snnir.targets.speck.emulator import BadInput, Model

HEAD = '''\
"""Emulates the chip that the files beside this one configure; written by snnir.

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE ...] [--from config|memory]

Reads `ports.json` and either `config.json` (the vendor's fields) or `memory.bin` (the words that
are written into the chip). Needs NumPy; where there is no C compiler it runs in Python, slowly.
"""

from __future__ import annotations

import argparse
import ctypes
import difflib
import hashlib
import importlib.util
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
'''


def main() -> None:
    """Run events through the chip."""
    parser = command_line(str(__doc__))
    parser.add_argument("--from", dest="form", choices=("config", "memory"), default="config")
    parser.add_argument("--reverse", action="store_true", help="visit neurons in the other order")
    arguments = parser.parse_args()
    folder = pathlib.Path(__file__).parent
    try:
        try:
            model = Model.load(folder, arguments.form)
        except NoCompiler as problem:
            print(f"{problem}; running in Python, slowly", file=sys.stderr)
            model = Model.load(folder, arguments.form, compiled=False)
    except BadFolder as problem:
        raise SystemExit(str(problem)) from None
    model.emulator.reverse = arguments.reverse
    check_record(arguments.record, model.ports["populations"])
    shapes = {name: tuple(port["shape"]) for name, port in model.ports["inputs"].items()}
    given = read_inputs(arguments.input, shapes)
    try:
        outputs, records, sums = model.run(given, arguments.record)
    except (BadFolder, BadInput) as problem:
        raise SystemExit(str(problem)) from None
    write_results(arguments.output, outputs, records, sums)
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}))
