"""Every neuron class of the frameworks, imported and run by NumPy, equals the framework's own run.

Spikes and states are compared bit for bit, over 3 seeds of 200 steps. Rows with a reason not to be
exact use exp, in which NumPy and torch differ: they must be close, and exact with torch's exp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

import snnir
from snnir.dynamics.scalar import SCALAR_OPS
from snnir.ir import Step
from tests.frameworks.matrix import grid_norse, grid_sinabs, grid_snntorch, grid_spikingjelly
from tests.frameworks.matrix.row import SEEDS, SIZE, STEPS, Array, Refusal, Row, Trace

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning"),
]

GRIDS = (grid_snntorch, grid_sinabs, grid_spikingjelly, grid_norse)
REFUSING = (grid_snntorch, grid_spikingjelly, grid_norse)
ROWS: list[Row] = [row for grid in GRIDS for row in grid.rows()]
REFUSALS: list[Refusal] = [r for grid in REFUSING for r in grid.refusals()]
#: Rows of these frameworks that the first study of their semantics reproduced in every bit.
REPRODUCIBLE = 141


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    """One thread, so that workers do not fight over cores, and no gradients."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


def neuron_of(graph: snnir.Graph) -> tuple[str, Step]:
    """Return the only node with a step program that has states."""
    found = [(n.name, n.op) for n in graph.nodes.values() if isinstance(n.op, Step)]
    ((name, op),) = [(name, op) for name, op in found if op.program.states]
    return name, op


def check_activity(row: Row, output: Array) -> None:
    """A row whose neurons are silent, or always fire, says nothing."""
    rate = np.count_nonzero(output) / output.size
    assert row.graded or 0 < rate < 1, f"rate {rate}"


def prepare(row: Row, seed: int) -> tuple[Trace, Callable[[], dict[str, Array]]]:
    """Import a row's layer; return its own run, and what makes NumPy's from the graph.

    The layer is imported before it runs, so that it must have been left as it was.
    """
    pytest.importorskip(row.framework)
    layer, x = row.build(seed), row.inputs(seed)
    x = x.reshape(*x.shape[:2], *row.shape)
    assert type(layer).__name__ == row.neuron
    graph = snnir.from_torch(layer, input_shape=row.shape)
    node, op = neuron_of(graph)
    assert {state.name for state in op.program.states} == set(row.states)

    def ours() -> dict[str, Array]:
        result = snnir.run(graph, x, record=[f"{node}:{name}" for name in row.states])
        states = {name: result.recorded[f"{node}:{name}"] for name in row.states}
        return {"output": result.output, **states}

    trace = row.drive(layer, x, row.states)
    assert trace.output.shape == x.shape
    assert set(trace.states) == set(row.states)
    check_activity(row, trace.output)
    return trace, ours


def check_equal(trace: Trace, got: dict[str, Array]) -> None:
    """Output and states must be equal in every bit, wherever the framework shows them."""
    np.testing.assert_array_equal(got["output"], trace.output, err_msg="output")
    for name, expected in trace.states.items():
        found = got[name][list(trace.seen.get(name, range(STEPS)))]
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("row", [row for row in ROWS if row.exact], ids=str)
def test_exact(row: Row, seed: int) -> None:
    trace, ours = prepare(row, seed)
    check_equal(trace, ours())


def with_torch_exp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reference simulator take exp from torch."""
    import torch

    def exp(x: Array) -> Array:
        return np.asarray(torch.exp(torch.from_numpy(x)).numpy())

    monkeypatch.setitem(SCALAR_OPS, "exp", replace(SCALAR_OPS["exp"], numpy=exp))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("row", [row for row in ROWS if not row.exact], ids=str)
def test_but_for_exp(row: Row, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, ours = prepare(row, seed)
    check_close(trace, ours())
    with_torch_exp(monkeypatch)
    check_equal(trace, ours())


def check_close(trace: Trace, got: dict[str, Array]) -> None:
    """Spikes must be equal and states close, until rounding decides about a spike.

    Which one that is differs between processors, as NumPy's exp does.
    """
    differ = np.flatnonzero((got["output"] != trace.output).any(axis=(1, 2)))
    parted = int(differ[0]) if len(differ) else STEPS
    assert parted > STEPS // 8
    for name, expected in trace.states.items():
        steps = list(trace.seen.get(name, range(STEPS)))
        held = [at for at, step in enumerate(steps) if step < parted]
        found = got[name][steps][held]
        np.testing.assert_allclose(found, expected[held], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refusal(refusal: Refusal) -> None:
    pytest.importorskip(refusal.framework)
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.from_torch(refusal.build(), input_shape=(SIZE,))
    assert {d.code for d in caught.value.diagnostics} == {refusal.code}


def test_rows_are_distinct() -> None:
    titles = [str(row) for row in ROWS]
    assert len(set(titles)) == len(titles)


def test_enough_rows_are_exact() -> None:
    assert len({row.case for row in ROWS if row.exact}) >= REPRODUCIBLE


def test_every_supported_class_has_a_row() -> None:
    listed = snnir.framework_neurons()
    supported = {(line["framework"], line["class"]) for line in listed if line["supported"]}
    assert {(row.framework, row.neuron) for row in ROWS} == supported
