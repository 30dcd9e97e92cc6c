"""Running a folder's host program on this machine, against the stand-in for Poplar.

Depends on NumPy and the standard library alone and is copied into emitted folders.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnir.targets.ipu.standin.build import build_host
from snnir.targets.ipu.standin.registry import UnknownCodelet


class Failed(RuntimeError):
    """The program broke a rule of the machine, or could not run; the message is one line."""


@dataclass(frozen=True)
class Port:
    """Something that goes in or comes out.

    Attributes:
        name: Its name.
        shape: Of a sample.
        ctype: Type of its numbers in the program, `float` or `int`.
        handle: The word by which the program is asked for it, if it has to be.
        dtype: What NumPy calls the type in which it is given out, if not that of streams.
    """

    name: str
    shape: tuple[int, ...]
    ctype: str = "float"
    handle: str = ""
    dtype: str = ""


@dataclass(frozen=True)
class Facts:
    """What a caller has to know of a program.

    Attributes:
        inputs, outputs: In the order of the graph.
        records: Everything that can be recorded, by name; several names may stand for one handle.
        populations: The word by which the spikes of each population are counted, by name.
        dtype: Of outputs and records, as NumPy calls it.
        offset: Steps by which outputs and records are reported late.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    records: Mapping[str, Port]
    populations: Mapping[str, str]
    dtype: str = "float32"
    offset: int = 0


@dataclass(frozen=True)
class Emulation:
    """What a run gave.

    Attributes:
        outputs, records: [time, batch, *shape], by name.
        sums: Spikes of each population over the whole run.
        report: What the emulator measured: memory of tiles, exchange, time; see docs/ipu-format.md.
    """

    outputs: dict[str, Any]
    records: dict[str, Any]
    sums: dict[str, float]
    report: dict[str, Any] = field(default_factory=dict)


def emulate(
    folder: pathlib.Path, facts: Facts, inputs: Mapping[str, Any], record: Sequence[str] = ()
) -> Emulation:
    """Build a folder's program and run it.

    Args:
        folder: With the program, its codelets and weights, and the stand-in.
        facts: What the program is.
        inputs: [time, batch, *shape] for every input.
        record: Names to record.

    Raises:
        Failed: If a rule of the machine is broken, or the program does not run.
        snnir.c_build.NoCompiler: If it cannot be compiled.
    """
    try:
        program = build_host(folder)
    except (OSError, UnknownCodelet) as problem:
        raise Failed(str(problem)) from None
    steps, batch = next(iter(inputs.values())).shape[:2]
    wanted = [*(facts.records[name].handle for name in record), *facts.populations.values()]
    with tempfile.TemporaryDirectory(prefix="snnir-ipu-") as scratch:
        given, made, measured = (pathlib.Path(scratch, name) for name in ("in", "out", "report"))
        with given.open("wb") as file:
            for port in facts.inputs:
                kind = "<i4" if port.ctype == "int" else "<f4"
                np.ascontiguousarray(inputs[port.name], kind).tofile(file)
        line = [str(program), ".", str(given), str(made), str(steps), str(batch), *wanted]
        known = {**os.environ, "SNNIR_IPU_REPORT": str(measured)}
        done = subprocess.run(
            line, capture_output=True, text=True, check=False, cwd=folder, env=known
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
            raise Failed(lines[-1])
        report = json.loads(measured.read_text("utf-8")) if measured.is_file() else {}
        return _read(made, facts, record, (steps, batch), report)


def _read(
    made: pathlib.Path,
    facts: Facts,
    record: Sequence[str],
    lead: tuple[int, int],
    report: dict[str, Any],
) -> Emulation:
    with made.open("rb") as file:

        def numbers(port: Port) -> Any:
            """Read the numbers of one port."""
            kind = "<i4" if port.ctype == "int" else "<f4"
            count = lead[0] * lead[1] * int(np.prod(port.shape, dtype=np.int64))
            return np.fromfile(file, kind, count)

        def given(port: Port, flat: Any) -> Any:
            """Return a port's numbers as they are given out."""
            shaped = flat.reshape(*lead, *port.shape).astype(port.dtype or facts.dtype)
            return late(shaped, facts.offset)

        outputs = {port.name: given(port, numbers(port)) for port in facts.outputs}
        # The program writes what is recorded in its own order, which is that of the facts.
        wanted, found = {facts.records[name].handle for name in record}, dict[str, Any]()
        for port in facts.records.values():
            if port.handle in wanted and port.handle not in found:
                found[port.handle] = numbers(port)
        ports = {name: facts.records[name] for name in record}
        records = {name: given(port, found[port.handle]) for name, port in ports.items()}
        totals = np.fromfile(file, "<f8", len(facts.populations))
    sums = dict(zip(facts.populations, totals.tolist(), strict=True))
    return Emulation(outputs, records, sums, report)


def late(y: Any, steps: int) -> Any:
    """Return a trace as it is reported by who is late."""
    if not steps:
        return y
    return np.concatenate([np.zeros((steps, *y.shape[1:]), y.dtype), y])[: len(y)]
