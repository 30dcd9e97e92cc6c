"""The Diehl and Cook example: its images, its labels, and a short training as a script."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import snnir
from examples.diehl_cook.data import RATE, STEPS, Images, digits, enlarged, spikes
from examples.diehl_cook.labels import Labels
from snnir.ir import Plastic
from tests.helpers import ROOT


def test_images_are_blocks_within_a_border() -> None:
    small = np.arange(64.0).reshape(1, 8, 8) / 64
    large = enlarged(small)
    assert large.shape == (1, 28, 28)
    for shift in range(3):
        np.testing.assert_array_equal(large[:, 2 + shift : 26 : 3, 2 + shift : 26 : 3], small)
    assert large.sum() == pytest.approx(9 * small.sum())


def test_learning_and_test_images_are_apart() -> None:
    pytest.importorskip("sklearn")
    learn, test = digits()
    assert (len(learn), len(test)) == (1437, 360)
    assert learn.pixels.min() == 0
    assert learn.pixels.max() == 1
    assert len(set(learn.labels)) == len(set(test.labels)) == 10


def test_pixels_spike_as_often_as_they_are_bright() -> None:
    pixels = np.linspace(0, 1, 784, dtype=np.float32)
    trains = list(spikes(Images(np.stack([pixels] * 40), np.zeros(40)), seed=3))
    assert trains[0].shape == (STEPS, 1, 784)
    assert not np.array_equal(trains[0], trains[1])
    rates = np.mean(trains, axis=(0, 1, 2)) * 1e3
    assert rates[0] == 0
    np.testing.assert_allclose(rates.reshape(8, 98).mean(1), RATE * pixels.reshape(8, 98).mean(1), rtol=0.1)  # fmt: skip


def test_labels() -> None:
    counts = np.array([[9, 0, 2, 0], [7, 2, 0, 0], [0, 4, 1, 0], [0, 4, 1, 0]])
    labels = Labels.of(counts, np.array([0, 0, 2, 2]), number=3)
    np.testing.assert_array_equal(labels.assigned, [0, 2, 0, -1])
    np.testing.assert_allclose(labels.responses[1], [1, 0, 4])
    np.testing.assert_allclose(labels.proportions[1], [0.2, 0, 0.8])
    shown = np.array([[0, 3, 5, 0], [0, 0, 0, 9], [4, 0, 0, 0]])
    # Class 0 has two neurons: (0 + 5) / 2 spikes against 3 / 1 of class 2.
    np.testing.assert_array_equal(labels.all_activity(shown), [2, -1, 0])
    # Weighted: 5 * 0.5 / 2 against 3 * 0.8.
    np.testing.assert_array_equal(labels.proportion_weighting(shown), [2, -1, 0])


def test_a_class_is_told_by_the_share_of_a_neuron() -> None:
    counts = np.array([[6, 0], [4, 3]])
    labels = Labels.of(counts, np.array([0, 1]), number=2)
    np.testing.assert_array_equal(labels.assigned, [0, 1])
    shown = np.array([[4, 3]])
    assert labels.all_activity(shown) == [0]
    assert labels.proportion_weighting(shown) == [1]  # 4 * 0.6 against 3 * 1


@pytest.mark.framework
def test_a_short_training_beside_bindsnet(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    if importlib.util.find_spec("bindsnet") is None:
        pytest.skip("needs bindsnet")
    script = ROOT / "examples" / "diehl_cook" / "train.py"
    saved = tmp_path / "trained.snnir"
    options = ["--neurons", "20", "--samples", "12", "--test", "4", "--beside-bindsnet"]
    line = [sys.executable, str(script), *options, "--save", str(saved)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "spikes that differ while learning: 0" in done.stdout
    assert "spikes that differ while testing: 0" in done.stdout
    assert f"weights that differ in any bit: 0 of {20 * 784}" in done.stdout
    assert len(re.findall(r"12 images learned in", done.stdout)) == 2
    trained = snnir.load(saved)
    (weights,) = (n.op.weight for n in trained.nodes.values() if isinstance(n.op, Plastic))
    np.testing.assert_allclose(weights.numpy().sum(axis=1), 78.4, rtol=1e-5)
