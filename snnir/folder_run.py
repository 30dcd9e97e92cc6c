"""Running an artefact folder from its files alone, in a process of its own."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.artefact import Folder
from snnir.errors import error
from snnir.events import Events, streams_of
from snnir.folder_program import write_results
from snnir.lasting import Lasting, check_known
from snnir.progress import progress
from snnir.running import KEPT, EventResult, Result, check_streams, spike_stats
from snnir.streams import Kind, Signal

#: Options of every program that are not to be set: we set them, or they run nothing.
_OWN_OPTIONS = ("output", "record", "lasting", "help")
#: Entries of a stream of events.
_PARTS = ("time", "index", "sample")


def run_folder(
    folder: Folder,
    x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    record: Sequence[str] = (),
    settings: Sequence[str] = (),
    lasting: Mapping[str, npt.ArrayLike] | None = None,
) -> Result:
    """Run a simulator's folder with its own program.

    Args:
        folder: What to run.
        x: [T, B, *shape], or one such array per input name.
        record: Names to record.
        settings: Options of the folder's program as `KEY=VALUE`; `KEY=true` is a flag, and
            `KEY=false` leaves it out.
        lasting: What lasts of an earlier run (`Result.lasting`) instead of what the folder has.

    Raises:
        SnnirError: SNN502 if the folder has no program or it fails, SNN601 if x or what lasts does
            not fit, SNN701 if a setting is none.
    """
    options = [option for item in settings for option in _option(item)]
    facts = folder.manifest
    entry = facts.get("entry")
    source = str(folder.path)
    if not isinstance(entry, str) or entry not in facts["files"]:
        message = f"target '{facts.get('target')}' has no program to run"
        raise error("SNN502", message, source=source)
    inputs = check_streams(x, _signals(facts["inputs"]))
    kept = check_known(_lasting(facts), lasting or {})
    with tempfile.TemporaryDirectory(prefix="snnir-run-") as scratch:
        given, made = Path(scratch, "input.npz"), Path(scratch, "output.npz")
        # Numbered entries: names may hold characters that archives treat as paths.
        # NumPy before 2.1 has no `allow_pickle` here and would store it; plain numbers need none.
        arrays = _entries(inputs)
        numbered: dict[str, Any] = {f"array_{i}": y for i, y in enumerate(arrays.values())}
        np.savez(given, names=np.array(list(arrays)), **numbered)
        command = [sys.executable, "-I", str((folder.path / entry).resolve()), str(given)]
        command += ["-o", str(made)]
        for name in record:
            command += [f"--record={name}"]
        if kept:
            earlier = str(Path(scratch, "lasting.npz"))
            write_results(earlier, {}, {}, {}, lasting=kept)
            command += [f"--lasting={earlier}"]
        command += options
        with progress(f"running {folder.path.name}/{entry}"):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not made.is_file():
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise error("SNN502", f"its program failed: {lines[-1]}", source=source)
        with np.load(made, allow_pickle=False) as data:
            return _result(dict(data), facts)


def _entries(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file of inputs has: an array each, or the three of a stream of events."""
    found: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, Events):
            found |= {f"{name}.{part}": getattr(value, part) for part in _PARTS}
        else:
            found[name] = value
    return found


def _option(item: str) -> list[str]:
    """Return a setting as the program takes it."""
    key, equals, value = item.partition("=")
    key = key.replace("_", "-")
    if not equals or not re.fullmatch("[A-Za-z][A-Za-z0-9-]*", key):
        raise error("SNN701", f"--set '{item}' is not KEY=VALUE")
    if any(known.startswith(key) for known in _OWN_OPTIONS):  # programs know shortened names
        raise error("SNN701", f"--set cannot set '{key}'", hint=f"--{key} is no option of a run")
    if value == "false":
        return []
    return [f"--{key}" if value == "true" else f"--{key}={value}"]


def _signals(ports: list[dict[str, Any]]) -> dict[str, Signal]:
    return {p["name"]: Signal(Kind(p["kind"]), tuple(p["shape"]), p["dtype"]) for p in ports}


def _lasting(facts: dict[str, Any]) -> dict[str, Lasting]:
    listed = facts.get("lasting", [])
    return {item["name"]: Lasting(tuple(item["shape"]), item["dtype"]) for item in listed}


def _result(data: dict[str, Any], facts: dict[str, Any]) -> Result:
    arrays = {str(name): data[f"array_{i}"] for i, name in enumerate(data["names"].tolist())}
    sums = dict(zip(data["spike_nodes"].tolist(), data["spike_sums"].tolist(), strict=True))
    outputs = {k.removeprefix("output/"): v for k, v in arrays.items() if k.startswith("output/")}
    # Time and batch come before the port's shape; a program may have run the input several times,
    # then there is an axis in front of them.
    port = facts["outputs"][0]
    lead = outputs[port["name"]].shape
    samples = math.prod(lead[: len(lead) - len(port["shape"])])
    stats = spike_stats(facts.get("populations", {}), sums, samples)
    records = {k.removeprefix("record/"): v for k, v in arrays.items() if k.startswith("record/")}
    own = {k.removeprefix("events/"): v for k, v in arrays.items() if k.startswith("events/")}
    kept = {k.removeprefix(KEPT): v for k, v in arrays.items() if k.startswith(KEPT)}
    if not own:
        return Result(outputs, records, stats, lasting=kept)
    names = [name.removesuffix(".time") for name in own if name.endswith(".time")]
    return EventResult(outputs, records, stats, streams_of(own, names))
