"""The command line of an emitted folder; copied into it."""

from __future__ import annotations

import json
import pathlib

from snnir.c_build import NoCompiler
from snnir.folder_program import check_record, command_line, read_inputs, write_results
from snnir.targets.ipu.emulator import Facts, Failed, emulate

HEAD = '''\
"""Emulates the IPU program beside this file; written by snnir.

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE[:STATE]]...

Needs NumPy and a C++ compiler ($CXX, c++, g++, clang++, or `pip install ziglang`). It compiles
host.cpp and codelets.cpp against a stand-in for Poplar, which runs tile by tile and checks memory
and exchange. Nothing here has run on an IPU.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import importlib.util
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
'''

# What the part of the folder's file before this one defines.
FACTS = Facts((), (), {}, {})


def main() -> None:
    """Run the network on a file."""
    parser = command_line(str(__doc__))
    parser.add_argument("--report", metavar="FILE", help="write what was measured, as JSON")
    arguments = parser.parse_args()
    check_record(arguments.record, FACTS.records)
    given = read_inputs(arguments.input, {port.name: port.shape for port in FACTS.inputs})
    try:
        made = emulate(pathlib.Path(__file__).parent, FACTS, given, arguments.record)
    except (NoCompiler, Failed) as problem:
        raise SystemExit(str(problem)) from None
    write_results(arguments.output, made.outputs, made.records, made.sums)
    if arguments.report:
        text = json.dumps(made.report, indent=1)
        try:
            pathlib.Path(arguments.report).write_text(text, encoding="utf-8")
        except OSError as problem:
            raise SystemExit(f"cannot write {arguments.report}: {problem}") from None
    print(json.dumps({name: list(y.shape) for name, y in made.outputs.items()}))
