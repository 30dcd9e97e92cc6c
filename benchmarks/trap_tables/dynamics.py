"""What a neuron does within a step: reset, comparison, gain, bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import snnir
from benchmarks.trap_tables.common import (
    HEAD,
    digits,
    markdown,
    pictures,
    play,
    versus,
)
from snnir.ir import FrozenDict, Step


def presets() -> str:
    """One file as twelve platforms step it."""
    rows = [(f"`{name}`", *versus(play(digits(semantics=name)))) for name in snnir.PRESETS]
    return markdown(("read as", *HEAD), rows)


def reset() -> str:
    """Which reset, and when."""
    rows = []
    for rule in ("zero", "subtract"):
        for timing in ("same-step", "next-step-before-decay", "next-step", "net"):
            played = play(digits(reset=rule, reset_timing=timing))
            rows.append((f"`{rule}`", f"`{timing}`", *versus(played)))
    return markdown(("reset", "timing", *HEAD), rows)


def compare() -> str:
    """Above the threshold, or at it."""
    rows = []
    for rule in ("zero", "subtract"):
        above = play(digits(reset=rule, compare="gt"))
        at = play(digits(reset=rule, compare="ge"))
        rows.append((f"reset `{rule}`, `>`", *versus(above, above)))
        rows.append((f"reset `{rule}`, `>=`", *versus(at, above)))
    return markdown(("", *HEAD), rows)


def ties() -> str:
    """How often a membrane is the threshold, bit for bit; and the next float as a cure."""
    rows = []
    above = digits().apply("discretize")
    ge = digits(compare="ge").apply("discretize")
    for name, graph in (("`>`", above), ("`>=`", ge), ("`>=` the next float", _raised(ge))):
        played = play(graph)
        rows.append((name, *versus(played)))
    return markdown(("spike when the membrane is", *HEAD), rows)


def _raised(graph: snnir.Graph) -> snnir.Graph:
    """Return the graph with every threshold as the next float above it."""
    editor = graph.edit()
    for node in graph.nodes.values():
        if isinstance(node.op, Step):
            threshold = node.op.params["threshold"].numpy()
            raised = np.nextafter(threshold, np.float32(np.inf), dtype=np.float32)
            params = {**node.op.params, "threshold": snnir.tensor(raised)}
            editor.set_op(node.name, replace(node.op, params=FrozenDict(params)))
    return editor.graph()


def gain() -> str:
    """What the drive is multiplied by."""
    rows = []
    for dt in (1e-3, 2e-3):
        for name in ("flow", "euler", "unit"):
            graph = digits(dt=dt, integrator="exponential_euler", input_gain=name)
            rows.append((f"{dt * 1e3:g} ms", f"`{name}`", *versus(play(graph))))
    return markdown(("dt", "input gain", *HEAD), rows)


def clamp() -> str:
    """Lower bounds of the membrane, and several spikes in a step."""
    x, _ = pictures()
    rows = []
    plain = digits().apply("discretize")
    lowest = snnir.compile(plain).run(x, record=["hidden:v"]).recorded["hidden:v"].min()
    for name, text in (
        ("none", "none"),
        ("relu", "`relu(v - min) + min`"),
        ("max", "`max(v, min)`"),
    ):
        played = play(digits(clamp=name))
        rows.append((text, *versus(played)))
    rows.append(("none, several spikes a step", *versus(play(digits(spikes="multi")))))
    table = markdown(("lower bound at minus the threshold", *HEAD), rows)
    return f"{table}\n\nThe lowest membrane without a bound is {lowest:.2f} thresholds."
