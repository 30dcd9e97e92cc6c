"""What was lost and assumed, and how neurons are stepped."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from snnir.dynamics.models import MODELS
from snnir.reporting.markup import Section, listing, table, text


def meaning_sections(facts: Mapping[str, Any]) -> list[Section]:
    """Return losses, assumptions, stepping and equations, from a manifest's facts."""
    return [
        Section("losses", "Losses", listing(facts["losses"], "None: every pass is exact.")),
        Section("assumptions", "Assumptions and repairs", listing(facts["notes"], "None.")),
        Section("stepping", "How neurons are stepped", _semantics(facts["semantics"])),
        Section("equations", "Equations", _equations(facts["semantics"])),
    ]


def _semantics(semantics: Mapping[str, Any]) -> str:
    rows = []
    for name, rules in semantics.items():
        given = rules.get("step") or rules.get("stepping") or {}
        stated = ", ".join(f"{key} = {value}" for key, value in given.items())
        rows.append((name, rules.get("model") or "", stated))
    return table(("neuron", "model", "what differs from the defaults"), rows)


def _equations(semantics: Mapping[str, Any]) -> str:
    names = sorted({rules.get("model") or "" for rules in semantics.values()} & set(MODELS))
    blocks = (
        f"<h3>{text(name)}</h3><pre>{html.escape(chr(10).join(MODELS[name].equations()))}</pre>"
        for name in names
    )
    return "".join(blocks) or "<p>No continuous model is named.</p>"
