"""The page on a run of an artefact folder, from its manifest alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from snnir.artefact import REPORT, open_artefact
from snnir.errors import error
from snnir.reporting.markup import Section, listing, table, text
from snnir.reporting.page import page
from snnir.reporting.runs import run_sections
from snnir.running import Result


def folder_page(folder: str | Path, result: Result | None = None, sample: int = 0) -> str:
    """Return a folder's own page, or one on a run of it.

    Args:
        folder: An artefact folder; every file of it is compared with its manifest.
        result: What a run of it gave.
        sample: Which of the batch is drawn.

    Raises:
        SnnirError: SNN502 if the folder is none or was altered, SNN601 for a sample that is not
            there.
    """
    opened = open_artefact(folder)
    if result is None:
        if REPORT not in opened.manifest["files"]:
            raise error("SNN502", f"its manifest has no {REPORT}", source=str(folder))
        return (opened.path / REPORT).read_text("utf-8", "replace")
    facts = opened.manifest
    name = facts.get("model")
    dt = facts.get("dt")
    known = isinstance(dt, (int, float)) and math.isfinite(dt) and dt > 0
    lead = (
        f"A run of the folder <b>{text(opened.path.name or opened.path)}</b>, compiled for "
        f"{text(facts['target'])}; its own {REPORT} has the graph and what compiling changed."
    )
    sections = [
        *run_sections(_first_run(result, facts), dt if known else None, sample=sample),
        Section("ports", "Inputs and outputs", _ports(facts)),
        Section("losses", "Losses", listing(_texts(facts, "losses"), "None.")),
        Section("assumptions", "Assumptions and repairs", listing(_texts(facts, "notes"), "None.")),
    ]
    return page(name if isinstance(name, str) else "A run", lead, sections, {})


def _texts(facts: Mapping[str, Any], key: str) -> list[str]:
    found = facts.get(key)
    return [str(item) for item in found] if isinstance(found, list) else []


def _ports(facts: Mapping[str, Any]) -> str:
    rows = [
        (role[:-1], port.get("name", ""), f"{port.get('kind')} {port.get('shape')}")
        for role in ("inputs", "outputs")
        for port in facts[role]
        if isinstance(port, Mapping)
    ]
    return table(("", "name", "type per step and sample"), rows)


def _first_run(result: Result, facts: Mapping[str, Any]) -> Result:
    """Return one run, where a program ran the input several times: then an axis is in front."""
    ports = [port for port in facts["outputs"] if isinstance(port, Mapping)]
    ranks = {p.get("name"): len(p["shape"]) for p in ports if isinstance(p.get("shape"), list)}
    extra = [y.ndim - 2 - ranks[n] for n, y in result.outputs.items() if n in ranks]
    if not extra or min(extra) < 1:
        return result
    outputs, recorded = (
        {name: y[(0,) * extra[0]] for name, y in side.items()}
        for side in (result.outputs, result.recorded)
    )
    return replace(result, outputs=outputs, recorded=recorded)
