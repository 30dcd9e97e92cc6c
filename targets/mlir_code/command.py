"""The command line of an emitted folder; copied into it."""

from __future__ import annotations

import json
import pathlib
import struct

from snnir.folder_program import check_record, command_line, read_inputs, write_results
from snnir.folder_weights import read_weights
from snnir.targets.mlir_code.host import INTERFACE, MODULE, WEIGHTS, Facts, Program

HEAD = '''\
"""Runs the compiled module beside this file with IREE's runtime; written by snnir.

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE[:STATE]]... [--driver NAME]

Needs NumPy and `pip install iree-base-runtime`. The module takes fixed numbers of steps and samples
at once; longer and larger inputs are run in parts. What the functions of model.mlir take and give
is listed in interface.json.
"""

from __future__ import annotations

import argparse
import difflib
import json
import pathlib
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
'''


def main() -> None:
    """Run the network on a file."""
    folder = pathlib.Path(__file__).parent
    try:
        facts = Facts.read((folder / INTERFACE).read_text(encoding="utf-8"))
        weights, module = read_weights(folder / WEIGHTS), (folder / MODULE).read_bytes()
    except (OSError, LookupError, TypeError, ValueError, struct.error) as problem:
        raise SystemExit(f"{folder} is not as it was written: {problem}") from None
    parser = command_line(str(__doc__))
    parser.add_argument("--driver", default=facts.driver, help=f"default: {facts.driver}")
    arguments = parser.parse_args()
    check_record(arguments.record, [port.name for port in facts.traces])
    given = read_inputs(arguments.input, {port.name: port.shape for port in facts.inputs})
    try:
        net = Program(lambda _: module, facts, weights, arguments.driver)
        outputs, records, sums = net.run(given, arguments.record)
    except ImportError as problem:
        raise SystemExit(f"pip install iree-base-runtime ({problem})") from None
    except (IndexError, RuntimeError, ValueError) as problem:
        reason = str(problem).splitlines()[0]
        raise SystemExit(f"cannot run on driver {arguments.driver!r}: {reason}") from None
    write_results(arguments.output, outputs, records, sums)
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}))
