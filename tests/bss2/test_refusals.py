"""Everything the chip cannot do is said at once: where, what is needed, what there is, what helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Add, Delay, Graph, Input, Linear, MaxPool2d, Op, Reshape, Signal, Winner
from snnir.streams import Kind
from tests.bss2 import nets
from tests.helpers import CORPUS, lif_step, quiet_load

Nodes = dict[str, tuple[Op, list[str]]]


def one(op: Op, fan_in: int = 3, size: int = 3) -> Graph:
    """Return inputs, a matrix, and an op."""
    nodes: Nodes = {"x": (nets.spikes(fan_in), []), "fc": (nets.dense(size, fan_in, 0), ["x"])}
    return nets.graph(nodes | {"n": (op, ["fc"])}, ["n"])


def loop(hidden: int, keep: float = 1.0, inputs: int = 5) -> Graph:
    nodes: Nodes = {
        "x": (nets.spikes(inputs), []),
        "fc": (nets.dense(hidden, inputs, 0, 0.8), ["x"]),
        "late": (Delay(1), ["lif"]),
        "rec": (nets.dense(hidden, hidden, 1, 0.3, keep), ["late"]),
        "sum": (Add(), ["fc", "rec"]),
        "lif": (nets.neuron(), ["sum"]),
    }
    return nets.graph(nodes, ["lif"])


def delayed(steps: int, recurrent: bool) -> Graph:
    nodes: Nodes = {
        "x": (nets.spikes(4), []), "fc": (nets.dense(4, 4, 0), ["x"]), "a": (nets.neuron(), ["fc"]),
        "late": (Delay(steps), ["a"]), "fc2": (nets.dense(4, 4, 1), ["late"]),
    }  # fmt: skip
    if recurrent:
        nodes |= {"sum": (Add(), ["fc", "fc2"]), "a": (nets.neuron(), ["sum"])}
        return nets.graph(nodes, ["a"])
    return nets.graph(nodes | {"b": (nets.neuron(), ["fc2"])}, ["b"])


def pooled() -> Graph:
    nodes: Nodes = {
        "x": (Input(Signal(Kind.SPIKES, (1, 4, 4))), []),
        "pool": (MaxPool2d((2, 2), (2, 2)), ["x"]),
        "flat": (Reshape((4,)), ["pool"]),
        "fc": (nets.dense(2, 4, 0), ["flat"]),
        "n": (nets.neuron(), ["fc"]),
    }
    return nets.graph(nodes, ["n"])


def membrane_read() -> Graph:
    nodes: Nodes = {
        "x": (nets.spikes(3), []), "fc": (nets.dense(3, 3, 0), ["x"]),
        "li": (nets.neuron("cubali"), ["fc"]), "fc2": (nets.dense(2, 3, 1), ["li"]),
        "n": (nets.neuron(), ["fc2"]),
    }  # fmt: skip
    return nets.graph(nodes, ["n"])


def strong() -> Graph:
    weight = snnir.tensor(np.full((2, 3), 500.0, np.float32))
    nodes: Nodes = {"x": (nets.spikes(3), []), "fc": (Linear(weight), ["x"])}
    return nets.graph(nodes | {"n": (nets.neuron(), ["fc"])}, ["n"])


def biased() -> Graph:
    weight, bias = (snnir.tensor(np.full(s, 0.5, np.float32)) for s in ((2, 3), (2,)))
    nodes: Nodes = {"x": (nets.spikes(3), []), "fc": (Linear(weight, bias), ["x"])}
    return nets.graph(nodes | {"n": (nets.neuron(), ["fc"])}, ["n"])


CASES: dict[str, tuple[Graph, dict[str, Any], str | None, list[str], str]] = {
    # graph, options, node, words of the message (need, limit), word of the remedy
    "neurons": (loop(600, 0.02), {}, "lif", ["600", "512"], ""),
    "fan-in": (loop(400), {}, "lif", [], ""),
    "tau_mem": (one(nets.neuron(tau_mem=0.1)), {}, "n", ["100 us", "0.5 to 60"], "1667 to 2e+04"),
    "tau_syn": (one(nets.neuron(tau_syn=0.1e-3)), {}, "n", ["0.1 us", "0.3 to 30"], "100 to 333"),
    "refractory": (
        one(lif_step(synapse="factor", refractory=50)), {}, "n", ["50 us", "0.04 to 32"], "speed-up",
    ),
    "potentials": (one(nets.neuron(v_reset=-1000.0)), {}, "n", ["-1000", "50 to 160"], "reset of"),
    "weights": (strong(), {}, "n", ["synapses", "16 at most"], "--set speedup="),
    "delay": (delayed(1, False), {}, "b", ["after 1 steps"], "no delays"),
    "long recurrence": (delayed(3, True), {}, "a", ["after 3 steps"], "no delays"),
    "integrate-and-fire": (one(nets.neuron("if", v_threshold=1.0, v_reset=0.0)), {}, "n", ["'if'"], "speck"),
    "soft reset": (one(lif_step(synapse="factor", reset="subtract")), {}, "n", ["subtracts"], "xylo"),
    "no synaptic current": (one(nets.neuron("lif", "exact")), {}, "n", ["0.3 to 30"], "tau-syn"),
    "a program of one's own": (
        one(snnir.ir.Step(lif_step().program, lif_step().params)), {}, "n", ["program of its own"], "LIF",
    ),
    "max pool": (pooled(), {}, "pool", ["no sum of weighted events"], "mean pools"),
    "winner": (one(Winner()), {}, "n", ["no sum of weighted events"], ""),
    "a membrane that is read": (membrane_read(), {}, "fc2", ["membrane of 'li'"], ""),
    "an output that is none": (one(Reshape((3,))), {}, "fc", ["neither"], "LIF"),
    "biases": (biased(), {"bias": "refuse"}, "n", ["0.5"], "bias=host"),
    "rare biases": (biased(), {"bias": "generator", "bias_every": 1000}, "n", ["125000"], "65535"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refusal(name: str) -> None:
    g, options, node, words, remedy = CASES[name]
    problems = snnir.check(g, "bss2", **options)
    assert problems
    mine = [p for p in problems if p.node == node]
    assert mine, problems
    assert all(word in mine[0].message for word in words), mine[0]
    assert remedy in str(mine[0].hint)
    assert all(p.code == "SNN501" for p in problems)
    with pytest.raises(snnir.SnnirError):
        snnir.compile(g, "bss2", **options)
    assert snnir.losses(g, "bss2", **options).level == "refused"


def test_several_at_once() -> None:
    nodes: Nodes = {
        "x": (nets.spikes(3), []), "fc": (nets.dense(3, 3, 0), ["x"]),
        "a": (lif_step(synapse="factor", reset="subtract"), ["fc"]),
        "fc2": (nets.dense(3, 3, 1), ["a"]), "b": (nets.neuron("lif", "exact"), ["fc2"]),
        "late": (Delay(2), ["b"]), "fc3": (nets.dense(3, 3, 2), ["late"]),
        "c": (nets.neuron("if", v_threshold=1.0), ["fc3"]),
    }  # fmt: skip
    found = snnir.check(nets.graph(nodes, ["c"]), "bss2")
    assert [p.node for p in found if p.node in ("a", "b", "c")] == ["a", "b", "c", "c"]


def test_a_membrane_that_neurons_read_is_said_once() -> None:
    nodes: Nodes = {
        "x": (nets.spikes(3), []), "fc": (nets.dense(3, 3, 0), ["x"]),
        "li": (nets.neuron("cubali"), ["fc"]), "n": (nets.neuron(), ["li"]),
    }  # fmt: skip
    (problem,) = snnir.check(nets.graph(nodes, ["n"]), "bss2")
    assert problem.node == "n"
    assert "membrane of 'li'" in problem.message


@pytest.mark.parametrize(("options", "said"), [
    ({"speedup": 0.0}, "speedup"), ({"gain": -1.0}, "gain"), ({"gain": float("nan")}, "gain"),
    ({"tau_syn": 100.0}, "tau_syn"), ({"refractory": 1e3}, "refractory"), ({"bias": "no"}, "bias"),
    ({"scale": "layer"}, "scale"), ({"bias_every": -1}, "bias_every"), ({"colour": "red"}, "colour"),
])  # fmt: skip
def test_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.compile(nets.feed_forward(3, 4, 2), "bss2", **options)
    assert caught.value.diagnostics[0].code == "SNN503"
    assert said in caught.value.diagnostics[0].message


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the project")
@pytest.mark.parametrize(("name", "semantics", "options", "nodes", "word"), [
    ("braille_zero", "snntorch", {}, ["lif1.lif", "lif2"], "16.67 to 444.4"),
    ("lif_norse", "norse", {}, ["1"], "tau-syn"),
    ("two_lif_neurons", "exact", {}, ["lif1", "lif2"], "tau-syn"),
    ("nmnist_cnn_sinabs", "sinabs", {}, ["1", "3", "6", "10", "12"], "speck"),
])  # fmt: skip
def test_corpus(name: str, semantics: str, options: Any, nodes: list[str], word: str) -> None:
    g = quiet_load(CORPUS / f"{name}.nir", semantics=semantics, dt=1e-4)
    found = snnir.check(g, "bss2", **options)
    assert list(dict.fromkeys(p.node for p in found)) == nodes
    assert all(word in str(p.hint) for p in found)
