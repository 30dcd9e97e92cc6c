"""The report inside an artefact folder: one self-contained, deterministic HTML page."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from snnir.dynamics.models import MODELS
from snnir.errors import shown
from snnir.ir.graph import Graph
from snnir.operations import ENERGY, Activity
from snnir.pipeline import PipelineResult

if TYPE_CHECKING:
    from snnir.target import Compiled

#: Graphs with more nodes are not drawn.
_MAX_DRAWN = 60
_ROW, _WIDTH = 46, 420

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #8884; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
img.pixels { image-rendering: pixelated; width: 100%; border: 1px solid #8884; }
svg text { font: 12px ui-monospace, monospace; fill: currentColor; }
svg rect { fill: #4a90d922; stroke: currentColor; }
svg path { fill: none; stroke: currentColor; }
svg path.back { stroke-dasharray: 4 3; }
"""


def report_html(
    compiled: Compiled, facts: Mapping[str, Any], activity: Activity | None = None
) -> str:
    """Return the page for a compiled graph.

    Args:
        compiled: What was built.
        facts: The manifest.
        activity: What the graph did on some input.
    """
    graph = compiled.graph
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{_text(graph.name)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(graph.name)}</h1>",
        f"<p>Compiled by snnir {_text(facts['snnir'])} for <b>{_text(facts['target'])}</b>"
        f" from {_text(facts['source']['name'] or 'a graph')}; dt = {_text(graph.dt)} s.</p>",
        _section("Losses", _list(facts["losses"], "None: every pass is exact.")),
        _section("Assumptions and repairs", _list(facts["notes"], "None.")),
        _section("Inputs and outputs", _ports(facts)),
        _section("Nodes", _nodes(graph)),
        *([_section("What outlives a run", _lasting(facts))] if facts["lasting"] else []),
        *([] if activity is None else [_section("Activity", _activity(activity))]),
        _section("How neurons are stepped", _semantics(facts["semantics"])),
        _section("Equations", _equations(facts["semantics"])),
        *(_section(_text(title), _table(*table)) for title, table in compiled.tables.items()),
        *(
            _section(_text(title), _picture(title, data))
            for title, data in compiled.pictures.items()
        ),
        _section("Passes", _passes(compiled.history)),
        _section("Graph", _drawing(graph)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _text(value: Any) -> str:
    return html.escape(shown(str(value)))


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>\n{body}"


def _picture(title: str, data: bytes) -> str:
    encoded = base64.b64encode(data).decode()
    return f"<img class='pixels' alt='{_text(title)}' src='data:image/png;base64,{encoded}'>"


def _list(items: Iterable[str], empty: str) -> str:
    found = "".join(f"<li>{html.escape(shown(str(item), 400))}</li>" for item in items)
    return f"<ul>{found}</ul>" if found else f"<p>{empty}</p>"


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = ["<table><tr>", *(f"<th>{name}</th>" for name in head), "</tr>"]
    for row in rows:
        cells = (
            f"<td class='n'>{cell:,}</td>" if isinstance(cell, int) else f"<td>{_text(cell)}</td>"
            for cell in row
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "".join([*lines, "</table>"])


def _ports(facts: Mapping[str, Any]) -> str:
    rows = [
        (role[:-1], port["name"], f"{port['kind']} {port['shape']} {port['dtype']}")
        for role in ("inputs", "outputs")
        for port in facts[role]
    ]
    return _table(("", "name", "type per step and sample"), rows)


def _nodes(graph: Graph) -> str:
    rows, seen, total = [], set(), 0
    for name in graph.order:
        node = graph.nodes[name]
        tensors = node.op.tensors().values()
        rows.append(
            (
                name,
                node.op.name,
                str(graph.signal(name)),
                sum(t.size for t in tensors),
                sum(t.nbytes for t in tensors),
            )
        )
        for tensor in tensors:
            if tensor.digest not in seen:
                seen.add(tensor.digest)
                total += tensor.nbytes
    table = _table(("node", "op", "type", "parameters", "bytes"), rows)
    return f"{table}<p>Weights stored once: {total:,} bytes.</p>"


def _lasting(facts: Mapping[str, Any]) -> str:
    rows = [(item["name"], f"{item['shape']}", item["dtype"]) for item in facts["lasting"]]
    return _table(("node:state", "shape, for all samples", "type"), rows)


def _activity(found: Activity) -> str:
    pace = "" if found.per_second is None else f", {found.per_second:.4g} per second"
    told = f"Per sample, {found.steps} steps: {found.operations:,.0f} synaptic operations{pace}."
    spikes = [(p.node, p.neurons, f"{p.spikes:.6g}", f"{p.rate:.4g}") for p in found.populations]
    work = [(s.node, s.connections, f"{s.operations:.6g}", s.products) for s in found.synapses]
    energy = [
        (name, *("-" if joules is None else f"{joules * 1e9:.4g} nJ" for joules in both), source)
        for (name, both), (*_, source) in zip(
            found.energy().items(), ENERGY.values(), strict=True
        )
    ]  # fmt: skip
    return "".join(
        [
            f"<p>{told}</p>",
            _table(("population", "neurons", "spikes", "rate"), spikes),
            _table(("synapse", "connections", "operations", "dense products"), work),
            _wide_table(("energy", "events", "dense", "constants"), energy),
        ]
    )


def _semantics(semantics: Mapping[str, Any]) -> str:
    rows = []
    for name, rules in semantics.items():
        given = rules.get("step") or rules.get("stepping") or {}
        stated = ", ".join(f"{key} = {value}" for key, value in given.items())
        rows.append((name, rules.get("model") or "", stated))
    return _wide_table(("neuron", "model", "what differs from the defaults"), rows)


def _wide_table(head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(shown(cell, 400))}</td>' for cell in row)}</tr>"
        for row in rows
    )
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{body}</table>"


def _equations(semantics: Mapping[str, Any]) -> str:
    names = sorted({rules.get("model") or "" for rules in semantics.values()} & set(MODELS))
    blocks = (
        f"<h3>{_text(name)}</h3><pre>{html.escape(chr(10).join(MODELS[name].equations()))}</pre>"
        for name in names
    )
    return "".join(blocks) or "<p>No continuous model is named.</p>"


def _passes(history: PipelineResult) -> str:
    rows = [(r.spec, r.fidelity, r.before, r.after, r.changed) for r in history.records]
    return _table(("pass", "fidelity", "nodes before", "after", "changed"), rows)


def _drawing(graph: Graph) -> str:
    if len(graph) > _MAX_DRAWN:
        return f"<p>Not drawn: {len(graph)} nodes are more than {_MAX_DRAWN}.</p>"
    row = {name: index for index, name in enumerate(graph.order)}
    shapes = []
    for name, index in row.items():
        y = 10 + index * _ROW
        label = html.escape(f"{shown(name)[:34]} : {graph.nodes[name].op.name}")
        shapes.append(f"<rect x='60' y='{y}' width='{_WIDTH}' height='26' rx='5'/>")
        shapes.append(f"<text x='72' y='{y + 17}'>{label}</text>")
        for value in graph.nodes[name].operands:
            shapes.append(_edge(row[value.node], index))
    height = 20 + len(row) * _ROW
    return f"<svg width='640' height='{height}' role='img'>{''.join(shapes)}</svg>"


def _edge(source: int, target: int) -> str:
    start, end = 10 + source * _ROW + 26, 10 + target * _ROW
    if target == source + 1:
        return f"<path d='M 270 {start} L 270 {end}'/>"
    if target > source:
        bend = 60 + _WIDTH + 14 * min(target - source, 10)
        x = 60 + _WIDTH
        return f"<path d='M {x} {start - 13} C {bend} {start}, {bend} {end}, {x} {end + 13}'/>"
    bend = 60 - 14 * min(source - target + 1, 4)
    top = start - 13
    return f"<path class='back' d='M 60 {top} C {bend} {top}, {bend} {end + 13}, 60 {end + 13}'/>"
