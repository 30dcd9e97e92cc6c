"""Imported step functions do what JAX does, in every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="needs jax")
import jax.numpy as jnp

import snnir
from snnir.ir import Graph, Step
from snnir.streams import Kind
from tests.step_functions.cells import CELLS, ZERO, Cell, adex, by_jax, cuba, random_input

STEPS, SEEDS = 120, (0, 1, 2)


def imported(cell: Cell) -> Graph:
    return snnir.from_jax(cell.step, cell.state, cell.example, **cell.options)


def run(graph: Graph, cell: Cell, xs: list[Any], target: str = "numpy") -> Any:
    """Run a graph on inputs [T, ...] side by side; a step function of a batch takes its own."""
    batched = cell.options.get("batched", False)
    given = np.concatenate([x if batched else x[:, None] for x in xs], axis=1)
    return snnir.compile(graph, target).run(given, list(cell.states))


def beside(cell: Cell, runs: list[Any]) -> Any:
    """Return what several runs by JAX gave as a graph does, [T, B, ...]."""
    batched = cell.options.get("batched", False)
    arrays = [np.asarray(x, np.float32) for x in runs]
    return np.concatenate([x if batched else x[:, None] for x in arrays], axis=1)


def check(graph: Graph, cell: Cell) -> int:
    """Compare runs in every bit; return how many spikes there were."""
    inputs = [random_input(cell, STEPS, seed) for seed in SEEDS]
    result = run(graph, cell, inputs)
    states, outputs = zip(*by_jax(cell, inputs), strict=True)
    leaves = [jax.tree_util.tree_leaves(out) for out in outputs]
    assert len(leaves[0]) == len(result.outputs)
    for at, name in enumerate(sorted(result.outputs)):
        assert np.array_equal(result.outputs[name], beside(cell, [x[at] for x in leaves])), name
    for name, read in cell.states.items():
        assert np.array_equal(result.recorded[name], beside(cell, [read(s) for s in states])), name
    return int(sum(np.asarray(x[0]).sum() for x in leaves))


@pytest.mark.parametrize("name", sorted(CELLS))
def test_states_and_outputs_equal_the_jax_run(name: str) -> None:
    cell = CELLS[name]
    graph = imported(cell)
    assert "all states equal" in graph.provenance.notes[-1]
    assert check(graph, cell) > 50


def test_comparisons_are_spikes_and_chains_are_one_program() -> None:
    graph = imported(CELLS["lsnn"])
    steps = [n for n in graph.nodes.values() if isinstance(n.op, Step)]
    assert [node.name for node in steps] == ["neuron"]
    assert graph.signal("neuron").kind is Kind.SPIKES
    assert sorted(graph.tensors()) == sorted(
        ["neuron.beta", "neuron.decay", "cell.w_in.weight", "cell.w_rec.weight", "w_out.weight"]
    )
    assert [node.op.name for node in graph.nodes.values()].count("delay") == 1


def test_exponentials_differ_by_rounding_only() -> None:
    state = {"v": jnp.full(5, -70.6), "w": ZERO}
    cell = Cell(adex, state, jnp.ones(6), {"neuron:v": lambda s: s["v"]})
    graph = imported(cell)
    assert any("exp" in note for note in graph.provenance.notes)
    x = np.repeat(random_input(cell, 20, 0), 40, axis=0)
    ((states, fired),) = by_jax(cell, [x])
    result = run(graph, cell, [x])
    assert fired.sum() >= 5
    assert np.array_equal(result.output[:, 0], fired)
    assert np.allclose(result.recorded["neuron:v"][:, 0], states["v"], rtol=1e-3)


def test_a_scan_over_time_is_entered() -> None:
    cell = CELLS["cuba"]

    def network(state: Any, xs: Any) -> Any:
        final, (spikes, membrane) = jax.lax.scan(cuba, state, xs)
        return final, {"spikes": spikes, "membrane": membrane, "rate": spikes.mean(0)}

    xs = random_input(cell, 40, 5)
    graph = snnir.from_jax(network, cell.state, xs)
    assert graph.inputs["input"].shape == (6,)
    assert sorted(graph.outputs) == ["membrane", "spikes"]
    assert any("'rate'" in note and "left out" in note for note in graph.provenance.notes)
    outputs = jax.jit(network)(cell.state, xs)[1]
    result = snnir.run(graph, xs[:, None])
    assert np.array_equal(result.outputs["spikes"][:, 0], outputs["spikes"])
    assert np.array_equal(result.outputs["membrane"][:, 0], outputs["membrane"])


def test_a_loop_over_the_elements_of_an_input_is_no_time() -> None:
    def step(v: Any, x: Any) -> Any:
        return 0.5 * v + jax.lax.map(lambda a: 2.0 * a, x), v

    graph = snnir.from_jax(step, ZERO, jnp.ones(ZERO.shape))
    assert graph.inputs["input"].shape == ZERO.shape


def test_limits_of_float32_are_noted() -> None:
    def step(s: Any, x: Any) -> Any:
        return (0.5 * s[0] + x, s[1] + 1), ((s[0] > 0).astype(jnp.float32), s[1])

    graph = snnir.from_jax(step, (ZERO, ZERO.astype(jnp.int32)), jnp.ones(ZERO.shape))
    whole, small, rounding = graph.provenance.notes
    assert "below 2^24" in whole
    assert "1.2e-38" in small
    assert "test_cells.py:" in small
    assert "all states equal" in rounding
    graph = snnir.from_jax(CELLS["leaky"].step, CELLS["leaky"].state, CELLS["leaky"].example)
    assert len(graph.provenance.notes) == 1


@pytest.mark.parametrize("contraction", ["none", "xla-cpu"])
def test_rounding_can_be_chosen(contraction: str) -> None:
    cell = CELLS["leaky"]
    graph = snnir.from_jax(cell.step, cell.state, cell.example, contraction=contraction)
    used = {let.op for n in graph.nodes.values() if isinstance(n.op, Step)
            for let in n.op.program.body}  # fmt: skip
    assert ("fma" in used) == (contraction == "xla-cpu")
    x = random_input(cell, 30, 0)
    with jax.disable_jit(contraction == "none"):
        mem, kept = cell.state, []
        step = jax.jit(cell.step)
        for row in x:
            mem, _ = step(mem, row)
            kept.append(np.asarray(mem))
    got = snnir.run(graph, x[:, None], ["neuron:v"]).recorded["neuron:v"]
    assert np.array_equal(got[:, 0], np.stack(kept))


@pytest.mark.parametrize(("name", "target"), [("two_layers", "xla"), ("refractory", "native")])
def test_imported_graphs_compile_for_other_targets(name: str, target: str) -> None:
    cell = CELLS[name]
    graph = imported(cell)
    x = random_input(cell, 50, 3)
    wanted, got = run(graph, cell, [x]), run(graph, cell, [x], target)
    for key, values in wanted.outputs.items():
        assert np.array_equal(got.outputs[key], values)


def test_an_imported_graph_can_be_written_and_read() -> None:
    graph = imported(CELLS["refractory"])
    assert snnir.parse(str(graph)) == graph
