"""What was lost, assumed and changed, and how neurons are stepped, item by item."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from snnir.dynamics.models import MODELS
from snnir.loss_report import REFUSED, LossReport, NodeLoss
from snnir.pipeline import APPROXIMATE, EXACT
from snnir.reporting.cells import Html, badge, data_table, few_names, names
from snnir.reporting.markup import Section, listing, text

#: Groups of neurons that are shown one by one; more are counted.
_MOST_GROUPS = 60
_TOLD = (
    "<p><b>given</b>: the file, the live model or an option says so; <b>assumed</b>: nobody did, "
    "a default was taken; <b>changed</b>: a repair, a choice or a pass replaced what was there; "
    "<b>unknown</b>: not recorded.</p>"
)
_HEAD = ("item", "value", "", "by whom", "before")


def meaning_sections(facts: Mapping[str, Any], losses: LossReport | None = None) -> list[Section]:
    """Return losses, assumptions, stepping and equations.

    Args:
        facts: A manifest's facts.
        losses: What a target keeps of every node, if the graph was compiled for one.
    """
    return [
        Section("losses", "Losses", _losses(facts, losses)),
        Section("assumptions", "Assumptions and repairs", listing(facts["notes"], "None.")),
        Section("stepping", "How neurons are stepped", _stepping(facts["meaning"])),
        Section("equations", "Equations", _equations(facts["semantics"])),
    ]


def _losses(facts: Mapping[str, Any], losses: LossReport | None) -> str:
    said = listing(facts["losses"], "None: every pass is exact.")
    if losses is None:
        return said
    groups: dict[NodeLoss, list[str]] = {}
    for entry in losses.nodes:
        shared = NodeLoss("", entry.level, entry.what, entry.amount)
        groups.setdefault(shared, []).append(entry.node)
    rows = [
        (_level(found.level), names(nodes), found.what, _share(found.amount), len(nodes))
        for found, nodes in groups.items()
    ]
    head = ("kept", "nodes", "what differs", "spikes that differ on noise", "number of nodes")
    title = f"<h3>What the target {text(losses.target)} keeps of every node</h3>"
    return said + title + data_table(head, rows)


def _level(level: str) -> Html:
    kind = {EXACT: "exact", APPROXIMATE: "lost", REFUSED: "lost"}.get(level, "assumed")
    return Html(f"<span class='badge {kind}'>{text(level)}</span>")


def _share(amount: float | None) -> str:
    return "" if amount is None else f"{amount:.2%}"


def _stepping(meaning: Mapping[str, Any]) -> str:
    groups = meaning["groups"]
    parts = [_TOLD, "<h3>The whole graph</h3>", _items(meaning["graph"])]
    for group in groups[:_MOST_GROUPS]:
        parts += [_title(group["model"], group["nodes"]), _items(group["items"])]
    more = sum(len(group["nodes"]) for group in groups[_MOST_GROUPS:])
    if more:
        parts.append(f"<p>{more:,} more nodes are not shown; the manifest has them.</p>")
    replaced = meaning["on_the_target"]
    if replaced:
        rows = [
            (node, item["value"], badge(item["state"]), item["by"])
            for node, item in replaced.items()
        ]
        parts += ["<h3>Otherwise on the target</h3>", data_table(("node", *_HEAD[1:4]), rows)]
    return "".join(parts)


def _title(model: str, nodes: Sequence[str]) -> str:
    count = "" if len(nodes) == 1 else f"{len(nodes):,} nodes, "
    first, rest = few_names(nodes)
    return f"<h3>{first} <span class='muted'>{count}{text(model)}</span></h3>{rest}"


def _items(items: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            name.replace("_", " "),
            f"{_value(item['value'])} s" if name == "dt" else _value(item["value"]),
            badge(item["state"]),
            item["by"] or "not recorded",
            _value(item["before"]) if "before" in item else "",
        )
        for name, item in items.items()
    ]
    return data_table(_HEAD, rows)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _equations(semantics: Mapping[str, Any]) -> str:
    known = sorted({rules.get("model") or "" for rules in semantics.values()} & set(MODELS))
    blocks = (
        f"<h3>{text(name)}</h3><pre>{html.escape(chr(10).join(MODELS[name].equations()))}</pre>"
        for name in known
    )
    return "".join(blocks) or "<p>No continuous model is named.</p>"
