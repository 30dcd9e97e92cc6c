"""NIR files in: `load_nir` reads what the format says and records what it leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from snnir.digest import file_digest
from snnir.errors import SnnirError, error
from snnir.frontends.nir_build import build
from snnir.frontends.nir_hdf5 import read_raw
from snnir.frontends.nir_notes import Notes
from snnir.frontends.nir_origins import file_origins
from snnir.frontends.nir_ports import complete_ports
from snnir.frontends.nir_quirks import apply_quirks
from snnir.frontends.nir_record import FileRecord, restore_names
from snnir.frontends.nir_structure import Flat, flatten
from snnir.frontends.nir_time import choose_dt, insert_delays
from snnir.ir.graph import Graph, Provenance
from snnir.ir.neuron import Neuron
from snnir.memory import collection_paused
from snnir.presets import DEFAULT, preset
from snnir.semantic_items import Choice, deciding
from snnir.semantics import Semantics


def load_nir(
    path: str | Path,
    *,
    semantics: str | Semantics | None = None,
    dt: float | None = None,
    repair: bool = False,
    **options: Any,
) -> Graph:
    """Read a NIR file into a graph of continuous neurons with a stepping record.

    Args:
        path: The file.
        semantics: Preset that says how the platform steps NIR; see `snnir.presets`. Without it the
            file's own record is used, else `exact` with a warning.
        dt: Seconds per step; the file's record or the preset's by default.
        repair: Apply repairs to inconsistent files, and list them in the provenance's notes.
        options: Single attributes of `Semantics` or `Stepping` to override.

    Returns:
        The verified graph.

    Raises:
        SnnirError: Everything that keeps the file from being read, each with node and repair.
    """
    with collection_paused():
        return _load(Path(path), semantics, dt, repair, options)


def _load(
    path: Path,
    semantics: str | Semantics | None,
    dt: float | None,
    repair: bool,
    options: Mapping[str, Any],
) -> Graph:
    notes = Notes(str(path), repair)
    raw, version = read_raw(path)
    record = FileRecord.of(raw, notes)
    choice = _semantics(semantics, options, record, notes)
    if record.holds:
        restore_names(raw, notes)
    flat = flatten(raw, notes)
    _check_version(version, notes)
    complete_ports(flat, notes)
    if notes.errors:
        notes.settle()
    chosen, origin_of_dt = choose_dt(flat, choice.semantics, dt, record, notes)
    loops = insert_delays(flat, chosen, record, notes)
    graph = build(flat, chosen, record, notes)
    if notes.errors:
        notes.settle()
    offset = record.record_offset
    if not record.holds:
        graph = apply_quirks(graph, chosen, notes)
        neurons = (node.op for node in graph.nodes.values())
        offset = chosen.offset_for({op.model for op in neurons if isinstance(op, Neuron)})
    graph = replace(graph, record_offset=offset, name=record.name or path.stem)
    origins = file_origins(graph, flat, record, choice, origin_of_dt, loops, notes)
    provenance = Provenance(path.name, _digest(path), notes.settle(), origins)
    graph = replace(graph, provenance=provenance)
    try:
        return graph.verify()
    except SnnirError as failure:
        raise SnnirError(replace(d, source=str(path)) for d in failure.diagnostics) from None


def _semantics(
    semantics: str | Semantics | None,
    options: Mapping[str, Any],
    record: FileRecord,
    notes: Notes,
) -> Choice:
    named = semantics is not None or bool(options)
    base = semantics if isinstance(semantics, Semantics) else preset(semantics or DEFAULT)
    chosen = base.with_options(options)
    if record.present and named:
        notes.assume(f"the file's own semantics are overridden by '{chosen.name}'")
        record.discard()
        if "time_unit" not in options:  # its times are seconds, whatever the platform's
            chosen = replace(chosen, time_unit=1.0)
    elif not record.present and not named:
        notes.assume(
            f"the file does not say how it is stepped; took '{chosen.name}' "
            f"({chosen.stepping.describe()}); choose with --semantics",
            code="SNN301",
        )
    return Choice(chosen, semantics is not None, deciding(base, options))


def _check_version(version: str, notes: Notes) -> None:
    if not version:
        notes.assume("the file carries no version")


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as failure:
        raise error("SNN101", f"cannot be read: {failure}", source=str(path)) from None


__all__ = ["Flat", "load_nir"]
