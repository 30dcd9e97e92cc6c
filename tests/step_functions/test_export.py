"""Step functions in plain torch as graphs: spikes and states equal torch's own."""

from __future__ import annotations

import copy
import functools
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir

for module in ("torch", "snntorch", "spikingjelly.activation_based", "norse.torch"):
    pytest.importorskip(module)

import norse.torch as norse
import snntorch as snn
import torch
from norse.torch.functional.lif import LIFFeedForwardState, LIFState
from norse.torch.functional.lsnn import LSNNState
from spikingjelly.activation_based import functional as jelly
from spikingjelly.activation_based import surrogate
from torch import nn
from torch.nn import functional as F

from tests.helpers import ROOT, spikes
from tests.step_functions import torch_cells as cells

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore::FutureWarning")]

BATCH = 3
STEPS = 120
Leaves = list[Any]


def zeros(*shape: int) -> Any:
    return torch.zeros(BATCH, *shape)


def leaves(value: Any) -> Leaves:
    found = torch.utils._pytree.tree_leaves(value)
    return [leaf for leaf in found if leaf is not None]


def by_torch(
    step: Callable[..., Any], state: Any, x: Any, order: str = "x-state"
) -> tuple[Any, list[Any]]:
    """Return the outputs and the leaves of the state after every step, [T, B, ...]."""
    outputs, states = [], []
    state = copy.deepcopy(state)  # some libraries write into it
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


#: Step and state of every case; where the leaves of its state are in the graph, in order.
CASES: dict[str, tuple[Callable[[], Any], Any, list[str]]] = {
    "surrogate": (cells.HandLif, zeros(6), ["neuron:v"]),
    "adaptive": (
        cells.Adaptive,
        {"v": zeros(6), "b": zeros(6) + 0.5, "left": torch.zeros(BATCH, 6, dtype=torch.int64)},
        ["neuron:v", "neuron:b", "neuron:left"],
    ),
    "recurrent": (
        cells.Recurrent,
        ((zeros(6), zeros(6)), zeros(3)),
        ["neuron_0", "neuron_0:v_0_1", "neuron:v_1"],
    ),
    "delay line": (
        cells.DelayLine,
        {"line": zeros(3, 6) + 1, "v": zeros(6)},
        ["", "neuron:v"],
    ),
    "snntorch leaky": (
        lambda: cells.Functional(snn.Leaky(beta=0.9, reset_mechanism="zero")),
        (zeros(6),),
        ["cell:v_0"],
    ),
    "snntorch alpha": (
        lambda: cells.Functional(snn.Alpha(alpha=0.9, beta=0.8)),
        (zeros(6), zeros(6), zeros(6)),
        ["cell:v_0", "cell:v_1", "cell:v_2"],
    ),
    "norse sequence": (
        lambda: norse.SequentialState(
            nn.Linear(12, 6), norse.LIFCell(), norse.LIFRecurrentCell(6, 6)
        ),
        [None, LIFFeedForwardState(zeros(6), zeros(6)), LIFState(zeros(6), zeros(6), zeros(6))],
        ["1:v", "1:i", "2", "2:v", "2:i"],
    ),
    "norse lsnn": (
        lambda: norse.LSNNRecurrentCell(12, 6),
        LSNNState(zeros(6), zeros(6), zeros(6), zeros(6)),
        ["neuron", "neuron:v", "neuron:i", "neuron:b"],
    ),
    "spikingjelly": (
        lambda: cells.ByFunction(jelly_lif_step),
        zeros(6),
        ["neuron:v"],
    ),
}


def jelly_lif_step(x: Any, v: Any) -> Any:
    return jelly.lif_step(x, v, 2.0, True, 0.5, 0.0, surrogate.ATan(), False)


@functools.cache
def imported(name: str) -> tuple[Any, Any, snnir.Graph]:
    """Return the step, the state and the graph of a case."""
    make, state, _ = CASES[name]
    step = cells.grid(make())
    return step, state, snnir.from_export(step, state, zeros(12))


@pytest.mark.parametrize("name", CASES)
def test_states_in_and_out_are_equal_in_every_bit(name: str) -> None:
    step, state, graph = imported(name)
    places = CASES[name][2]
    assert ["2^24" in note for note in graph.provenance.notes] == [True] * (name == "adaptive")
    spiked = 0.0
    for seed in range(2):
        x = spikes((STEPS, BATCH, 12), rate=0.5, seed=seed)
        outputs, states = by_torch(step, state, x)
        result = snnir.run(graph, x, record=[place for place in places if place])
        np.testing.assert_array_equal(result.output, outputs)
        for place, expected in zip(places, states, strict=True):
            if not place:
                continue  # a delay line: its values are in delays
            np.testing.assert_array_equal(result.recorded[place], expected, err_msg=place)
        spiked += float(np.mean(outputs != 0))
    assert spiked / 2 > 0.01


@pytest.mark.parametrize("make", [cells.Buffered, cells.Stacked, cells.hidden_snntorch])
def test_what_modules_keep_is_state(make: Callable[[], Any]) -> None:
    step = cells.grid(make())
    shape = (2, 8, 8) if make is cells.Stacked else (12,)
    before = copy.deepcopy(step)
    graph = snnir.from_export(step, None, zeros(*shape))
    assert not graph.provenance.notes
    assert graph.inputs["input"].shape == shape
    assert kept(step) == kept(before), "the module is left as it was"
    for seed in range(2):
        x = spikes((STEPS, BATCH, *shape), rate=0.4, seed=seed)
        outputs, _ = by_torch(copy.deepcopy(step), None, x)
        np.testing.assert_array_equal(snnir.run(graph, x).output, outputs)
        if not seed:
            native = snnir.compile(graph, "native").run(x)
            np.testing.assert_array_equal(native.output, outputs)
        assert np.mean(outputs != 0) > 0.01
    if make is cells.Stacked:
        names = {"block1.0.weight", "block2.0.weight", "block2.0.bias", "head.weight"}
        assert names <= set(graph.tensors())


def kept(step: Any) -> list[Any]:
    """Return what the modules of a network hold that is no parameter."""
    found: list[Any] = [(name, b.tolist()) for name, b in step.named_buffers()]
    found += [list(module.seen) for module in step.modules() if hasattr(module, "seen")]
    return found + [module.v for module in step.modules() if isinstance(module, cells.Attribute)]


def test_adex_in_a_function_with_the_state_first() -> None:
    start = cells.AdexState(zeros(6) - 65.0, zeros(6), zeros(6))
    graph = snnir.from_export(cells.adex, start, zeros(6), order="state-x", dt=5e-4)
    assert graph.dt == 5e-4
    x = spikes((STEPS, BATCH, 6), rate=0.3)
    outputs, states = by_torch(cells.adex, start, x, "state-x")
    result = snnir.run(graph, x, record=["neuron:v", "neuron:w", "neuron:i"])
    np.testing.assert_array_equal(result.output, outputs)
    assert outputs.sum() > 20
    for name, expected in zip("vwi", states, strict=True):
        np.testing.assert_allclose(
            result.recorded[f"neuron:{name}"], expected, rtol=1e-3, atol=1e-2
        )


def written(x: Any, v: Any) -> Any:
    v = v * 0.5
    v[:, 1:3] = x[:, 1:3]
    v[:, 5] = 0.25
    v[:, 0] += x[:, 0]
    return F.max_pool2d(v.view(-1, 1, 2, 3), (1, 3))[:, 0, :, 0], v


def test_writing_to_parts_of_a_state() -> None:
    graph = snnir.from_export(written, zeros(6) + 1, zeros(6))
    x = np.random.default_rng(0).random((STEPS, BATCH, 6), np.float32)
    outputs, _ = by_torch(written, zeros(6) + 1, x)
    np.testing.assert_array_equal(snnir.run(graph, x).output, outputs)


def test_remainders_and_quotients_are_those_of_torch() -> None:
    by = torch.tensor([0.1, 0.3, -0.7, 2 * np.pi])

    def phases(x: Any, v: Any) -> Any:
        found = v % by, torch.fmod(-v, by), v // by, x // (v + 1), 2.5 % (v + 0.1)
        return torch.stack(found, 1), v + 0.1

    graph = snnir.from_export(phases, zeros(4), zeros(4) + 1)
    assert any("2^24" in note for note in graph.provenance.notes)
    x = np.random.default_rng(0).integers(-8, 9, (STEPS, BATCH, 4)).astype(np.float32)
    assert np.array_equal(snnir.run(graph, x).output, by_torch(phases, zeros(4), x)[0])


def test_exported_programs() -> None:
    step, state, graph = imported("recurrent")
    given = (zeros(12), ((zeros(6), zeros(6)), zeros(3)))
    program = torch.export.export(step, given, strict=False)
    assert snnir.from_export(program, state, zeros(12), name="Recurrent") == graph
    matrices = {"w_in.weight", "w_rec.weight", "readout.weight", "readout.bias"}
    assert matrices <= set(graph.tensors())


def test_buffers_that_an_exported_program_changes_are_state() -> None:
    step = cells.grid(cells.InPlace())
    program = torch.export.export(step, (zeros(12),), strict=False)
    graph = snnir.from_export(program, None, zeros(12))
    # The program is as it was: the same again.
    assert snnir.from_export(program, None, zeros(12)) == graph
    x = spikes((STEPS, BATCH, 12), rate=0.5)
    outputs, _ = by_torch(program.module(), None, x)
    result = snnir.run(graph, x, record=["neuron:v"])
    np.testing.assert_array_equal(result.output, outputs)
    assert result.recorded["neuron:v"].any()


def test_a_network_that_from_torch_reads_is_the_same_network() -> None:
    net = cells.grid(cells.hidden_snntorch())
    known = snnir.from_torch(net, (12,))
    traced = snnir.from_export(net, None, zeros(12))
    x = spikes((STEPS, BATCH, 12), rate=0.4)
    one, two = snnir.run(known, x, record=["1", "3"]), snnir.run(traced, x, record=["1", "3:mem"])
    np.testing.assert_array_equal(one.output, two.output)
    assert one.output.any()
    tensors = known.tensors()
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        np.testing.assert_array_equal(traced.tensors()[name].numpy(), tensors[name].numpy())


def test_native_code_does_the_same() -> None:
    step, state, graph = imported("adaptive")
    x = spikes((STEPS, BATCH, 12), rate=0.5)
    expected, _ = by_torch(step, state, x)
    np.testing.assert_array_equal(snnir.compile(graph, "native").run(x).output, expected)


def test_maxima_of_what_is_not_a_number() -> None:
    def roots(x: Any, v: Any) -> Any:
        return torch.sqrt(v).view(-1, 2, 6).amax(2), x

    graph = snnir.from_export(roots, zeros(12), zeros(12) + 1)
    x = 1 - 2 * spikes((5, BATCH, 12), rate=0.1)
    expected, _ = by_torch(roots, zeros(12), x)
    assert np.isnan(expected).any()
    assert not np.isnan(expected).all()
    for target in ("numpy", "native"):
        np.testing.assert_array_equal(snnir.compile(graph, target).run(x).output, expected)


def test_one_sample_without_batch_and_batches_of_one() -> None:
    step, _, whole = imported("surrogate")
    single = snnir.from_export(step, torch.zeros(6), torch.zeros(12), batched=False)
    one = snnir.from_export(step, torch.zeros(1, 6), torch.zeros(1, 12))
    x = spikes((STEPS, BATCH, 12), rate=0.5)
    expected = snnir.run(whole, x).output
    np.testing.assert_array_equal(snnir.run(single, x).output, expected)
    assert one == whole


def test_several_inputs_and_outputs_have_the_names_of_their_structure() -> None:
    graph = snnir.from_export(
        cells.two_streams,
        {"fast": zeros(6), "count": torch.tensor(0.0)},
        {"left": zeros(6), "right": zeros(6)},
    )
    assert set(graph.inputs) == {"left", "right"}
    assert set(graph.outputs) == {"spikes", "phase"}
    rng = np.random.default_rng(0)
    x = {name: rng.random((STEPS, BATCH, 6), np.float32) for name in ("left", "right")}
    result = snnir.run(graph, x)
    state: Any = {"fast": zeros(6), "count": torch.tensor(0.0)}
    for t in range(STEPS):
        now = {name: torch.from_numpy(values[t]) for name, values in x.items()}
        output, state = cells.two_streams(now, state)
        for name, value in output.items():
            np.testing.assert_array_equal(result.outputs[name][t], value.numpy())


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "torch.md").read_text("utf-8")
    section = page[page.index("## Neurons of your own") :]
    file = tmp_path / "page.py"
    file.write_text(section.split("```python\n")[1].split("```")[0], encoding="utf-8")
    torch.manual_seed(0)
    graph = runpy.run_path(str(file))["graph"]
    assert all("rounding" in note for note in graph.provenance.notes)
    assert "decay" in dict(graph["neuron"].op.program.params)
