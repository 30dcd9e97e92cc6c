"""What becomes of time: integrators, lengths of steps, recurrence, records that are late."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import nir
import numpy as np

import snnir
from benchmarks.trap_tables.common import (
    DT,
    HEAD,
    MODEL,
    Played,
    differing,
    digits,
    markdown,
    number,
    play,
    reference,
    versus,
)
from examples.yinyang_events.train import DURATION, events
from examples.yinyang_events.train import MODEL as TIMED

SAMPLES = 200


def integrator() -> str:
    """One equation, four integrators."""
    rows = []
    for name in ("euler", "exponential_euler", "exact", "semi_implicit"):
        rows.append((f"`{name}`", *versus(play(digits(integrator=name)))))
    return markdown(("integrator", *HEAD), rows)


def step_length() -> str:
    """The same network in steps and in continuous time."""
    graph = snnir.load(TIMED)
    given, _ = events(SAMPLES)
    rows = []
    for dt in (2e-3, 1e-3, 5e-4, 1e-4):
        found: Any = snnir.diff(graph, given, against="events", dt=dt, duration=DURATION)
        for node in found.nodes:
            rows.append(
                (
                    f"{dt * 1e3:g} ms", f"`{node.node}`", number(node.continuous),
                    number(node.same_step), number(node.missing), number(node.extra),
                    f"{node.mean_error * 1e6:.1f} µs",
                )
            )  # fmt: skip
    head = ("dt", "population", "spikes", "in the same step", "missing", "extra", "mean error")
    return markdown(head, rows)


@cache
def _recurrent_file() -> bytes:
    """Return the digits network as NIR with recurrent synapses in its hidden layer."""
    graph = nir.read(MODEL)
    nodes = dict(graph.nodes)
    for node in nodes.values():
        node.metadata.clear()
    rng = np.random.default_rng(7)
    connected = rng.random((128, 128)) < 0.1
    weight = np.where(connected, rng.integers(-64, 65, (128, 128)) / 256, 0).astype(np.float32)
    bias = np.full(128, 1 / 64, np.float32)
    nodes["again"] = nir.Affine(weight, bias)
    edges = [*graph.edges, ("hidden", "again"), ("again", "hidden")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recurrent.nir")
        nir.write(path, nir.NIRGraph(nodes, edges))
        return path.read_bytes()


def _recurrent(**options: Any) -> Played:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recurrent.nir")
        path.write_bytes(_recurrent_file())
        return play(snnir.load(path, semantics="snntorch", dt=DT, **options))


def recurrence() -> str:
    """How late a recurrent spike is, and from when its bias acts."""
    usual = _recurrent()
    rows = [("a step, bias from the first", *versus(usual, usual))]
    rows.append(("two steps", *versus(_recurrent(recurrent_delay=2), usual)))
    for name, text in (
        ("from-step-1", "a step, bias from the second"),
        ("never", "a step, no recurrent bias"),
    ):
        rows.append((text, *versus(_recurrent(recurrent_bias=name), usual)))
    return markdown(("a recurrent spike arrives after", *HEAD), rows)


def offset() -> str:
    """The same spikes, recorded a step late."""
    late = play(digits(record_offset=1))
    now = reference()
    rows = [
        ("as recorded", number(differing(late.hidden, now.hidden)),
         number(differing(late.digit, now.digit))),
        ("moved back by a step", number(differing(late.hidden[1:], now.hidden[:-1])),
         number(differing(late.digit[1:], now.digit[:-1]))),
    ]  # fmt: skip
    return markdown(("compared", "hidden spikes that differ", "output spikes that differ"), rows)
