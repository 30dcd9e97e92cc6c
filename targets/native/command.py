"""The command line of an emitted folder; copied into it."""

from __future__ import annotations

import json
import pathlib

from snnir.c_build import NoCompiler
from snnir.folder_program import (
    check_record,
    command_line,
    read_inputs,
    read_lasting,
    write_results,
)
from snnir.targets.native.host import Facts, Program

HEAD = '''\
"""Compiles and runs the C program beside this file; written by snnir.

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE[:STATE]]... [--threads N]
        [--lasting OUT.npz of an earlier run, if the network learns]

Needs NumPy and a C compiler ($CC, cc, gcc, clang, or `pip install ziglang`). What was compiled is
kept in the user's cache. To build by hand, see the Makefile.
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
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
'''

# What the part of the folder's file before this one defines.
FACTS = Facts((), (), {}, (), ())


def main() -> None:
    """Run the network on a file."""
    parser = command_line(str(__doc__), bool(FACTS.lasting))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    check_record(arguments.record, FACTS.records)
    given = read_inputs(arguments.input, {port.name: port.shape for port in FACTS.inputs})
    known = {name: (state.shape, state.dtype) for name, state in FACTS.lasting.items()}
    lasting = read_lasting(arguments.lasting, known) if known else {}
    try:
        net = Program.load(pathlib.Path(__file__).parent, FACTS, arguments.threads)
        outputs, records, sums = net.run(given, arguments.record, lasting=lasting)
    except NoCompiler as problem:
        raise SystemExit(str(problem)) from None
    write_results(arguments.output, outputs, records, sums, lasting=net.lasting())
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}))
