"""Scales, shifts and rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snnir.targets.xylo.quantizer import Wanted, quantize

seeds = st.integers(0, 2**32)


def block(
    weights: Any, threshold: Any, room: Any, direct: bool = False, strict: bool = False
) -> Wanted:
    size = weights.shape[1]
    half = len(weights) // 2
    return Wanted(
        {"inp": weights[:half], "rec": weights[half:]},
        np.broadcast_to(np.asarray(threshold, float), (size,)),
        np.full(size, strict),
        np.zeros(size),
        np.broadcast_to(np.asarray(room, float), (size,)),
        np.full(size, direct),
    )


def real(found: Any, key: str) -> Any:
    return found.weights[key] * 2.0 ** found.shifts[key] / found.scale


@given(seeds, st.booleans())
def test_weights_are_within_half_a_step(seed: int, direct: bool) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 1, (12, 6)) * rng.uniform(0.01, 10, 6)
    threshold = rng.uniform(0.5, 20, 6)
    found = quantize(block(weights, threshold, 50.0, direct), same=direct)
    assert not direct or found.shifts["inp"] == found.shifts["rec"]
    for key, wanted in (("inp", weights[:6]), ("rec", weights[6:])):
        whole = found.weights[key]
        assert whole.min() >= -128
        assert whole.max() <= 127
        assert not direct or not (whole % 2).any()
        step = (2 if direct else 1) * 2.0 ** found.shifts[key] / found.scale
        error = np.abs(real(found, key) - wanted) / step
        assert (error <= 0.5 + 1e-9).all()
    level = found.threshold / found.scale
    assert (np.abs(level - threshold) <= 0.5 / found.scale + 1e-9).all()


@given(seeds)
def test_states_have_room_and_whole_weights_stay_whole(seed: int) -> None:
    """Where there is no room for a shift, a smaller one is taken, not a scale in between."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (12, 6)).astype(float)
    weights[0] = 127
    room = rng.uniform(200, 16_000, 6)
    found = quantize(block(weights, 150.0, room), same=False)
    assert (found.scale * room <= 32767).all()
    np.testing.assert_array_equal(np.log2(found.scale), np.rint(np.log2(found.scale)))
    np.testing.assert_array_equal(real(found, "inp"), weights[:6])
    np.testing.assert_array_equal(real(found, "rec"), weights[6:])


@given(seeds, st.integers(1, 127), st.floats(0.001, 100))
def test_weights_on_a_grid_are_met(seed: int, most: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.integers(-most, most + 1, (12, 6)).astype(float)
    whole[0] = most
    found = quantize(block(whole * unit, most * unit, 300 * unit), same=False)
    np.testing.assert_allclose(real(found, "inp"), whole[:6] * unit, rtol=1e-9)
    np.testing.assert_allclose(real(found, "rec"), whole[6:] * unit, rtol=1e-9)
    np.testing.assert_allclose(found.threshold / found.scale, most * unit, rtol=1e-9)


def test_weights_on_a_grid_stay_even_where_copies_halve_them() -> None:
    """105 would meet the threshold, but is odd times 21."""
    rng = np.random.default_rng(0)
    whole = rng.integers(-21, 22, (12, 6)).astype(float)
    whole[0] = 21
    found = quantize(block(whole, 20.2, 300.0, direct=True), same=True)
    np.testing.assert_allclose(real(found, "inp"), whole[:6], rtol=1e-9)
    assert not (found.weights["inp"] % 2).any()


def test_a_grid_is_given_up_for_thresholds_of_a_few_units() -> None:
    """The first neuron has room for little; the second would have a threshold of two units."""
    weights = np.full((8, 2), 127.0)
    found = quantize(block(weights, [1000.0, 1.0], [16_000.0, 100.0]), same=False)
    assert found.threshold[1] >= 16


def test_blocks_of_different_size_have_different_shifts() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (40, 10))
    weights[20:] *= 16
    found = quantize(block(weights, 4.0, 100.0), same=False)
    assert found.shifts["rec"] - found.shifts["inp"] in (3, 4, 5)


def test_thresholds_that_must_be_exceeded() -> None:
    weights = np.full((2, 1), 127.0)
    met, exceeded = (
        quantize(block(weights, 127.0, 127.0, strict=strict), same=False)
        for strict in (False, True)
    )
    assert met.threshold[0] == met.scale[0] * 127
    assert exceeded.threshold[0] == exceeded.scale[0] * 127 + 1


def test_thresholds_are_met_too() -> None:
    """One weight is met by every scale; the one that meets the threshold is taken."""
    found = quantize(block(np.array([[3.0], [0.0]]), 1.0, 3.0), same=False)
    assert found.threshold[0] == found.scale[0]
    assert found.weights["inp"][0, 0] % 3 == 0


def test_neurons_that_nothing_feeds() -> None:
    found = quantize(block(np.zeros((4, 3)), 1.0, 1.0), same=True)
    assert (found.threshold > 1000).all()
    assert not found.weights["inp"].any()
