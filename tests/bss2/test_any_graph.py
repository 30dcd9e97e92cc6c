"""Whatever a graph is, it is compiled, right and runs, or refused with what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import snnir
from snnir.ir import Add, Delay, Graph, Input, Linear, Neuron, Node, Op, Signal, Value
from snnir.presets import PRESETS
from snnir.streams import Kind
from snnir.targets.bss2.compiled import Bss2Compiled
from tests.bss2 import checker, nets
from tests.bss2.reference import simulate
from tests.bss2.test_target import clocks
from tests.helpers import lif_step, params
from tests.strategies import graphs, lif_steps, odd_graphs
from tests.targets import compiled_or_refused, ones

STEPS = 20
#: Semantics whose neurons no circuit is, whatever their parameters.
SUBTRACT = ("sinabs", "spyx", "rockpool")


def options() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({
        "speedup": st.sampled_from([1000.0, 700.0, 333.3]),
        "tau_syn": st.sampled_from([0.5, 2.0]),
        "refractory": st.sampled_from([0.0, 1.0]),
        "scale": st.sampled_from(["neuron", "population"]),
        "bias": st.sampled_from(["host", "generator"]),
        "bias_every": st.sampled_from([0, 1, 3]),
    })  # fmt: skip


def written(chip: Bss2Compiled) -> None:
    """Registers are those of the integers, and nothing is wrong with them."""
    assert checker.check(chip.facts) == []
    wanted = {(p.source, p.target): p.weights for p in chip.plan.network.projections}
    assert checker.differences(checker.matrices(chip.facts), wanted) == []


def follows(chip: Bss2Compiled, seed: int) -> None:
    """The emulator, which reads registers, spikes as the integers do."""
    rng = np.random.default_rng(seed)
    given = {
        name: (rng.random((STEPS, 1, *signal.shape)) < 0.4).astype(np.float32)
        for name, signal in chip.inputs.items()
    }
    cells = chip.plan.network.cells
    spiking = [name for name, own in cells.items() if own.spiking]
    found = chip.run(given, spiking)
    flat = {name: x[:, 0].reshape(STEPS, -1) for name, x in given.items()}
    wanted = simulate(chip.plan, flat, clocks(chip.facts))
    begins = np.arange(STEPS) * chip.plan.step_ticks
    for name in spiking:
        counts = np.zeros((STEPS, cells[name].size))
        tick, index = wanted[name].T
        np.add.at(counts, (np.searchsorted(begins, tick, "right") - 1, index), 1)
        np.testing.assert_array_equal(found.recorded[name].reshape(STEPS, -1), counts, name)


def configured_or_refused(g: Graph, **chosen: Any) -> Bss2Compiled | None:
    made = compiled_or_refused(g, "bss2", **chosen)
    if made is None:
        return None
    assert isinstance(made, Bss2Compiled)
    written(made)
    made.run(ones(g, 4, 2), made.model.recordable)
    return made


@given(graphs())
def test_random_graphs(g: Graph) -> None:
    configured_or_refused(g, tau_syn=0.5)


@given(graphs(discrete=False))
def test_random_graphs_of_equations(g: Graph) -> None:
    configured_or_refused(g, tau_syn=0.5)


@given(odd_graphs())
def test_odd_graphs(g: Graph) -> None:
    try:
        g.verify()
    except snnir.SnnirError:
        return
    with np.errstate(all="ignore"):
        configured_or_refused(g, tau_syn=0.5)


@st.composite
def members(draw: st.DrawFn, fires: bool) -> Op:
    """A member of the LIF family that decays as the chip can at 1 ms a step."""
    step = draw(lif_steps(ports=1))
    assert isinstance(step.dynamics, snnir.LifStep)
    rules = dict(step.dynamics.attributes())
    if rules.get("membrane") in ("none", "integrate"):
        rules["membrane"] = "factor"
    rules |= {"fire": "gt" if fires else "never"}
    if rules.get("reset", "zero") not in ("zero", "to"):
        rules["reset"] = "zero"
    return _with_numbers(draw, rules)


def _with_numbers(draw: st.DrawFn, rules: dict[str, Any]) -> Op:
    step = lif_step(**rules)
    assert isinstance(step.dynamics, snnir.LifStep)
    unit = 4096.0 if step.dynamics.fixed else 1.0
    decay, part = st.floats(0.5, 0.95), st.floats(0.05, 0.4)
    known = {
        "beta": draw(decay) * unit, "alpha": draw(decay) * unit, "k_mem": draw(part),
        "k_syn": draw(part), "tau": draw(st.floats(2.0, 20.0)), "threshold": unit,
        "v_reset": draw(st.floats(-0.3, 0.3)), "leak": draw(part),
    }  # fmt: skip
    others = {name: draw(part) for name, _ in step.program.params if name not in known}
    chosen = {name: np.float64({**known, **others}[name]) for name, _ in step.program.params}
    return type(step)(step.dynamics, params(**chosen), "lif")


@st.composite
def equations(draw: st.DrawFn, fires: bool) -> Neuron:
    """A neuron as any platform steps it."""
    models = ("cubalif", "lif") if fires else ("cubali", "li")
    names = [name for name in PRESETS if not (fires and name in SUBTRACT)]
    changes: dict[str, Any] = {"r": draw(st.sampled_from([1.0, 0.5, 2.0]))}
    model = draw(st.sampled_from(models))
    if model.startswith("cuba"):
        changes["tau_mem"] = draw(st.floats(2e-3, 2e-2))
        changes["tau_syn"] = draw(st.floats(2e-3, 9e-3))
    if fires:
        changes["v_reset"] = draw(st.floats(-0.3, 0.3))
        changes["v_threshold"] = draw(st.floats(0.5, 2.0))
    return nets.neuron(model, draw(st.sampled_from(names)), **changes)


def neurons(fires: bool) -> st.SearchStrategy[Op]:
    return st.one_of(equations(fires), members(fires))


@st.composite
def legal_graphs(draw: st.DrawFn) -> Graph:
    """Two populations in a loop or not, inputs that reach either, and a readout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = {name: draw(st.integers(1, 6)) for name in ("x", "y", "a", "b", "readout")}
    nodes: dict[str, Node] = {
        name: Node(name, Input(Signal(Kind.SPIKES, (size[name],)))) for name in ("x", "y")
    }
    fires = draw(st.booleans())
    reads = {"a": ["x"], "b": ["a"], "readout": ["b"]}
    for pair in (
        ("y", "a"),
        ("x", "b"),
        ("y", "b"),
        ("a", "readout"),
        ("a", "a"),
        ("b", "a"),
        ("b", "b"),
    ):
        if draw(st.booleans()):
            reads[pair[1]].append(pair[0])
    for target, sources in reads.items():
        terms = []
        for source in sources:
            value = Value(source)
            if source >= target and source not in ("x", "y"):
                nodes[f"late {source} {target}"] = Node(
                    f"late {source} {target}", Delay(1), (value,)
                )
                value = Value(f"late {source} {target}")
            weight = rng.normal(0.3, 0.5, (size[target], size[source]))
            bias = rng.normal(0, 0.05, size[target]) if draw(st.integers(0, 3)) == 0 else None
            op = Linear(snnir.tensor(weight), None if bias is None else snnir.tensor(bias))
            nodes[f"{source} {target}"] = Node(f"{source} {target}", op, (value,))
            terms.append(Value(f"{source} {target}"))
        if len(terms) > 1:
            nodes[f"sum {target}"] = Node(f"sum {target}", Add(), tuple(terms))
            terms = [Value(f"sum {target}")]
        kind = neurons(fires or target != "readout")
        nodes[target] = Node(target, draw(kind), tuple(terms))
    return Graph(nodes, {"o": Value("readout"), "a": Value("a")}, nets.DT).verify()


@given(legal_graphs(), options(), st.integers(0, 2**32))
def test_the_emulator_is_a_plain_reading_of_the_integers(
    g: Graph, chosen: dict[str, Any], seed: int
) -> None:
    made = configured_or_refused(g, **chosen)
    if made is not None:
        follows(made, seed)
