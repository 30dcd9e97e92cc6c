"""Counts of spikes and synaptic operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.ir import AvgPool2d, Conv1d, Conv2d, Flatten, Graph, SumPool2d
from snnir.operations import ENERGY, fan_out
from snnir.passes.lower_synapses import unrolled
from tests.helpers import cli, feed_forward, lif_step, nir_file, recurrent, spikes
from tests.passes.test_folding import conv, linear, spiking


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Conv2d(snnir.Tensor(np.ones((4, 2, 3, 2), np.float32)), padding=((1, 0), (2, 1)), stride=(2, 1)), (2, 7, 6)),
        (Conv2d(snnir.Tensor(np.ones((4, 1, 3, 3), np.float32)), groups=2, dilation=(2, 1)), (2, 8, 6)),
        (Conv1d(snnir.Tensor(np.ones((3, 2, 4), np.float32)), stride=(3,), padding=((2, 2),)), (2, 11)),
    ],
)  # fmt: skip
def test_fan_out_is_the_columns_of_the_matrix(op: Conv1d | Conv2d, shape: tuple[int, ...]) -> None:
    built = spiking(shape, op)
    matrix = unrolled(op, shape, built.signal(op.name).shape)
    np.testing.assert_array_equal(fan_out(built, op.name).reshape(-1), matrix.sum(axis=0))


def test_operations_are_events_times_connections() -> None:
    x = spikes((20, 3, 3), 0.4)
    found = snnir.activity(feed_forward(), x)
    assert found.steps == 20
    assert found.operations == pytest.approx(x.sum() * 4 / 3)
    assert found.per_second == pytest.approx(found.operations / 20e-3)
    (synapse,) = found.synapses
    assert (synapse.connections, synapse.products) == (12, 240)
    (population,) = found.populations
    y = snnir.compile(feed_forward()).run(x).output
    assert population.spikes == pytest.approx(y.sum() / 3)
    assert population.rate == pytest.approx(y.mean())


def test_loops_count_what_comes_back() -> None:
    x = spikes((20, 1, 3), 0.4)
    found = {each.node: each.operations for each in snnir.activity(recurrent(), x).synapses}
    y = snnir.compile(recurrent()).run(x).output
    assert found["rec"] == y[:-1].sum() * 4


def pooled(pool: type[AvgPool2d] | type[SumPool2d]) -> Graph:
    return spiking(
        (2, 8, 8), conv(4, 2), lif_step(), pool((2, 2), (2, 2)), Flatten(), linear(3, 36)
    )


def test_mean_pools_do_not_make_events_smaller() -> None:
    x = spikes((10, 2, 2, 8, 8), 0.3)
    one, two = (snnir.activity(pooled(p), x) for p in (AvgPool2d, SumPool2d))
    assert one.operations == pytest.approx(two.operations)
    assert one.synapses[1].operations == pytest.approx(one.populations[0].spikes * 3)


def test_energy_is_the_sum_of_its_parts() -> None:
    found = snnir.activity(feed_forward(), spikes((20, 3, 3), 0.4))
    events, dense = found.energy()["45 nm float32"]
    assert events == pytest.approx(found.operations * 0.9e-12 + 80 * 4.6e-12)
    assert dense == pytest.approx(240 * 4.6e-12 + 80 * 4.6e-12)
    assert found.energy()["Loihi"][1] is None
    assert all(len(source) > 20 for *_, source in ENERGY.values())


def test_integer_graphs_are_counted_too() -> None:
    x = spikes((20, 3, 3), 0.4)
    found = snnir.activity(feed_forward().apply("quantize"), x)
    assert found.operations == pytest.approx(x.sum() * 4 / 3)


def test_on_the_command_line(tmp_path: Path) -> None:
    model = nir_file(tmp_path / "m.nir")
    words = ["inspect", model, "--semantics", "norse", "--dt", "1e-3"]
    done = cli(*words, "--poisson", "0.5", "--steps", "10")
    assert done.returncode == 0, done.stderr
    for word in ("synaptic operations", "connections", "rate", "Loihi"):
        assert word in done.stdout
    assert "synaptic operations" not in cli(*words).stdout
    refused = cli(*words, "--poisson", "0.5", "--format", "json")
    assert refused.returncode == 1
    assert "goes with --format table" in refused.stderr
    np.save(tmp_path / "x.npy", np.zeros((4, 1, 7), np.float32))
    wrong = cli(*words, "--input", tmp_path / "x.npy")
    assert wrong.returncode == 1
    assert "must be [T, B, 3]" in wrong.stderr
