"""Step functions in plain torch as graphs: spikes and states equal torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import snnir

torch = pytest.importorskip("torch", reason="needs torch")

from snnir.ir import Delay, Step
from tests.helpers import spikes
from tests.step_functions import torch_cells as cells

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore::FutureWarning")]

BATCH = 3
STEPS = 120
Leaves = list[Any]


def zeros(*shape: int) -> Any:
    return torch.zeros(BATCH, *shape)


def leaves(value: Any) -> Leaves:
    return torch.utils._pytree.tree_leaves(value)  # type: ignore[no-any-return]


def by_torch(
    step: Callable[..., Any], state: Any, x: Any, order: str = "x-state"
) -> tuple[Any, list[Any]]:
    """Return the outputs and the leaves of the state after every step, [T, B, ...]."""
    outputs, states = [], []
    with torch.no_grad():
        for now in torch.from_numpy(x):
            if state is None:
                outputs.append(step(now))
                continue
            first, second = step(now, state) if order == "x-state" else step(state, now)
            output, state = (first, second) if order == "x-state" else (second, first)
            outputs.append(output)
            states.append([leaf.clone() for leaf in leaves(state)])
    found = [torch.stack(column).numpy() for column in zip(*states, strict=True)]
    return torch.stack(outputs).numpy(), found


#: Name, step and state of every case; where the leaves of its state are in the graph, in order.
CASES: dict[str, tuple[Callable[[], Any], Any, list[str]]] = {
    "surrogate": (lambda: cells.grid(cells.HandLif()), zeros(6), ["neuron:state"]),
    "adaptive": (
        lambda: cells.grid(cells.Adaptive()),
        {"v": zeros(6), "b": zeros(6) + 0.5, "left": torch.zeros(BATCH, 6, dtype=torch.int64)},
        ["neuron:v", "neuron:b", "neuron:left"],
    ),
    "recurrent": (
        lambda: cells.grid(cells.Recurrent()),
        ((zeros(6), zeros(6)), zeros(3)),
        ["", "", "neuron_1:state_1"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_states_in_and_out_are_equal_in_every_bit(name: str) -> None:
    make, state, places = CASES[name]
    step = make()
    graph = snnir.from_export(step, state, torch.zeros(BATCH, 12))
    assert not graph.provenance.notes
    for seed in range(3):
        x = spikes((STEPS, BATCH, 12), seed=seed)
        outputs, states = by_torch(step, state, x)
        result = snnir.run(graph, x, record=[place for place in places if place])
        np.testing.assert_array_equal(result.output, outputs)
        for place, expected in zip(places, states, strict=True):
            if place:
                np.testing.assert_array_equal(result.recorded[place], expected, err_msg=place)
        assert 0.01 < np.mean([np.mean(o != 0) for o in result.outputs.values()]) < 1
