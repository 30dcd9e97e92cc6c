"""The command line of an emitted folder; copied into it."""

from __future__ import annotations

import json
import pathlib
import sys

from snnir.c_build import NoCompiler
from snnir.folder_program import check_record, command_line, read_inputs, write_results
from snnir.targets.events.engine_c import FILE
from snnir.targets.events.folder import BadFolder, read_network
from snnir.targets.events.host import Simulator
from snnir.targets.events.inputs import read_streams
from snnir.targets.events.outcome import BadRun, recordable, run_network
from snnir.targets.events.plan import RunError

HEAD = '''\
"""Runs the network of the files beside this one from event to event; written by snnir.

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE[:v|:i] ...] [--duration SECONDS]
                    [--engine auto|c|python] [--max-events N] [--threads N]

An input is an array [T, B, *shape], spikes at the starts of steps or currents held for them, or
three entries `NAME.time` (seconds), `NAME.index` (position in the shape) and `NAME.sample`. Needs
NumPy; where there is no C compiler it runs in Python, slowly. The output file has arrays on the
grid of steps, and the exact times as `events/NAME.time` and so on.
"""

from __future__ import annotations

import argparse
import ctypes
import difflib
import hashlib
import heapq
import importlib.util
import json
import math
import os
import pathlib
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt


FILE = "engine.c"
ENGINE = ""  # what is in that file, beside this one


def error(code: str, message: str) -> ValueError:
    """Return what is raised for events that are none."""
    return ValueError(message)

'''


def main() -> None:
    """Run the network on a file."""
    parser = command_line(str(__doc__))
    parser.add_argument("--duration", type=float, help="seconds; needed if only events are given")
    parser.add_argument("--engine", choices=("auto", "c", "python"), default="auto")
    parser.add_argument("--max-events", type=int, help="spikes after which a sample is given up")
    parser.add_argument("--threads", type=int, default=1, help="samples that are run at once")
    arguments = parser.parse_args()
    folder = pathlib.Path(__file__).parent
    try:
        network, facts = read_network(folder)
        most = facts["max_events"] if arguments.max_events is None else arguments.max_events
        if not 1 <= most < 2**62:
            raise BadRun(f"--max-events is {most}, must be 1 or more")
        source = (folder / FILE).read_text(encoding="utf-8")
        sim = Simulator(network, arguments.engine, most, max(1, arguments.threads), source)
        if sim.kind != arguments.engine and sim.kind == "python":
            print("there is no C compiler; running in Python, slowly", file=sys.stderr)
        check_record(arguments.record, recordable(sim))
        shapes = {name: block.shape for name, block in sim.inputs.items()}
        given = read_streams(arguments.input, shapes, read_inputs)
        found = run_network(sim, given, arguments.record, arguments.duration)
    except RunError as problem:
        raise SystemExit(sim.explained(problem)) from None
    except (BadFolder, BadRun, NoCompiler, OSError, ValueError) as problem:
        raise SystemExit(str(problem)) from None
    more = {
        f"events/{name}.{part}": getattr(events, part)
        for name, events in found.events.items()
        for part in ("time", "index", "sample")
    }
    write_results(arguments.output, found.outputs, found.recorded, found.sums, more)
    print(json.dumps({name: list(y.shape) for name, y in found.outputs.items()}))
