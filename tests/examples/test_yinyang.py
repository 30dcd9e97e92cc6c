"""The Yin-Yang example: its data, its neurons, its committed networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from examples.yinyang.train import (
    AWARE,
    DT,
    MODEL,
    TAU,
    TEST,
    TEST_SEED,
    encode,
    network,
    neurons,
    on_chips,
    points,
    right,
    train_in_the_loop,
    which,
)


def test_classes_of_points() -> None:
    x, y = np.array([[0.25, 0.5], [0.75, 0.5], [0.5, 0.9], [0.5, 0.1], [0.45, 0.4], [0.55, 0.6]]).T
    assert which(x, y).tolist() == [2, 2, 1, 0, 1, 0]
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 401), np.linspace(0, 1, 401)), -1).reshape(-1, 2)
    inside = grid[np.hypot(*(grid - 0.5).T) < 0.499]
    dots, yin = (np.mean(which(*inside.T) == k) for k in (2, 1))
    assert abs(dots - 2 * 0.1**2 / 0.5**2) < 0.005
    assert abs(yin - (1 - dots) / 2) < 0.005
    # Half a turn changes yin and yang.
    own, turned = which(*inside.T), which(*(1 - inside).T)
    assert np.mean(np.where(own == 2, 2, 1 - own) == turned) > 0.995


def test_points_are_even_and_mirrored() -> None:
    coordinates, labels = points(600, 3)
    assert coordinates.shape == (600, 4)
    np.testing.assert_allclose(coordinates[:, :2] + coordinates[:, 2:], 1)
    np.testing.assert_array_equal(which(*coordinates[:, :2].T), labels)
    assert np.bincount(labels).min() > 160
    np.testing.assert_array_equal(points(600, 3)[0], coordinates)


def test_spikes_of_points() -> None:
    x = encode(np.array([[0.0, 1.0, 0.5, 0.26]]))
    assert x.shape == (38, 1, 25)
    step, channel = x[:, 0].nonzero()
    when = dict(zip(channel.tolist(), step.tolist(), strict=True))
    assert [when[k] for k in range(5)] == [2, 26, 14, 8, 2]
    assert all(when[k] == when[k % 5] for k in range(25))


def test_steps_are_the_solution_in_continuous_time() -> None:
    """A readout after one event: weight times t/tau exp(-t/tau), at ends of steps."""
    built = network(np.ones((1, 1)), np.full((1, 1), 0.5))
    nodes = {name: built.nodes[name] for name in ("input", "fc1")}
    readout = snnir.Node("readout", neurons("cubali"), (snnir.Value("fc1"),))
    alone = snnir.Graph({**nodes, "readout": readout}, {"output": snnir.Value("readout")}, dt=DT)
    x = np.zeros((30, 1, 1), np.float32)
    x[4] = 1
    found = snnir.compile(alone.verify()).run(x).output[:, 0, 0]
    t = np.arange(1, 27) * DT / TAU
    np.testing.assert_allclose(found[4:], t * np.exp(-t), rtol=1e-5)
    assert not found[:4].any()


@pytest.fixture(scope="module")
def tested() -> tuple[Any, Any]:
    coordinates, labels = points(TEST, TEST_SEED)
    return encode(coordinates), labels


@pytest.mark.parametrize(("path", "least"), [(MODEL, 0.95), (AWARE, 0.935)])
def test_the_chip_is_as_good_as_the_model(path: Any, least: float, tested: Any) -> None:
    x, labels = tested
    graph = snnir.load(path)
    stepped = right(snnir.compile(graph).run(x).output, labels)
    chip = snnir.compile(graph, "bss2")
    assert stepped >= least
    assert right(chip.run(x).output, labels) >= stepped - 0.015


def test_the_network_that_knows_of_variation_stands_it(tested: Any) -> None:
    """On virtual chips that no training has seen."""
    x, labels = tested[0][:, :250], tested[1][:250]
    plain, aware = (on_chips(snnir.load(p), x, labels, range(100, 105)) for p in (MODEL, AWARE))
    assert np.mean(plain) < 0.85
    assert np.mean(aware) > 0.87
    assert np.mean(aware) > np.mean(plain) + 0.08


@pytest.mark.slow
@pytest.mark.framework
def test_training_in_the_loop_brings_back_what_a_chip_costs(tested: Any) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    x, labels = tested[0][:, :300], tested[1][:300]
    graph, chip = snnir.load(MODEL), range(102, 103)
    (before,) = on_chips(graph, x, labels, chip, noise_seed=7)
    (after,) = on_chips(train_in_the_loop(graph, chip[0], 1), x, labels, chip, noise_seed=7)
    assert before < 0.75
    assert after > 0.88
