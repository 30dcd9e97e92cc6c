"""The command line of an emitted folder; copied into it."""

from __future__ import annotations

import json
import pathlib

from snnir.folder_program import check_record, command_line, read_inputs, write_results
from snnir.targets.xylo.configuration import ConfigError, InputError, read_config

HEAD = '''\
"""Emulates the Xylo configuration beside this file; written by snnir.

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record POPULATION[:v|:i] ...]

Needs NumPy and reads config.json alone. Inputs are whole numbers of events, 0 to 15, as
[time, batch, *shape]. Outputs and records are in the chip's time: `latency` in config.json says by
how many steps each is later than in the model. Recorded states are the chip's integers.
"""

from __future__ import annotations

import argparse
import difflib
import json
import pathlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
'''


def main() -> None:
    """Run the network on a file."""
    arguments = command_line(str(__doc__)).parse_args()
    path = pathlib.Path(__file__).parent / "config.json"
    try:
        net = read_config(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise SystemExit(f"config.json cannot be read: {problem}") from None
    except ConfigError as problem:
        raise SystemExit(f"config.json {problem}") from None
    check_record(arguments.record, net.records)
    given = read_inputs(arguments.input, {span.name: span.shape for span in net.inputs})
    try:
        outputs, records, sums = net.run(given, arguments.record)
    except InputError as problem:
        raise SystemExit(str(problem)) from None
    write_results(arguments.output, outputs, records, sums)
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}))
