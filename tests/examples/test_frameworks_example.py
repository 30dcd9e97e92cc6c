"""The trained snnTorch network gives the same spikes in every framework and through NIR."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

import snnir
from tests.helpers import ROOT

pytestmark = pytest.mark.framework

ROUTES = {
    "snntorch itself",
    "snntorch > sinabs",
    "snntorch > spikingjelly",
    "snntorch > norse",
    "snntorch > NumPy",
    "snntorch > .nir > snntorch",
    "snntorch > sinabs > spikingjelly > norse > .nir > snntorch",
}


def train_module() -> Any:
    for name in ("torch", "snntorch", "sklearn", "safetensors"):
        pytest.importorskip(name)
    from examples.frameworks import train

    return train


def test_committed_weights_are_on_the_grid_and_classify() -> None:
    train = train_module()
    net = train.load()
    for layer in (net.fc1, net.fc2):
        for parameter in (layer.weight, layer.bias):
            scaled = parameter.detach() * train.GRID
            assert (scaled == scaled.round()).all()
            # Sums over all inputs stay below 2**16, where multiples of 1/256 are exact.
            assert scaled.abs().sum() < 2**24
    assert train.accuracy(net) == pytest.approx(0.9806, abs=5e-5)  # as the README says


@pytest.mark.slow
def test_training_improves() -> None:
    train = train_module()
    assert train.accuracy(train.train(2)) > 0.8


def test_a_wrong_output_is_counted_or_refused() -> None:
    train_module()
    import torch

    from examples.frameworks import move

    own = torch.zeros(4, 4, 2)
    own[:2, :, 1] = 1
    labels = torch.tensor([1, 1, 1, 0])
    other = own.clone()
    other[:3, 0, 0] = 1
    assert move.compare("r", own, own, labels) == move.Row("r", 0.75, 0, 0)
    assert move.compare("r", other, own, labels) == move.Row("r", 0.5, 1, 3)
    with pytest.raises(ValueError, match="expected"):
        move.compare("r", own[1:], own, labels)


def test_a_difference_is_the_exit_code(monkeypatch: Any, capsys: Any) -> None:
    train = train_module()
    from examples.frameworks import move

    net = train.load()
    with monkeypatch.context() as patch:
        patch.setattr(move, "routes", lambda *_: [("the same", net)])
        assert move.main() == 0
        patch.setattr(
            move, "routes", lambda *_: [("the same", net), ("late", lambda x: net(x).roll(1, 0))]
        )
        assert move.main() == 1
    same, late = (line.split() for line in capsys.readouterr().out.splitlines()[-4:-2])
    assert same[-2:] == ["0", "0"]
    assert int(late[-1]) > 1000


def test_neurons_are_the_framework_s_own() -> None:
    train_module()
    from examples.frameworks import move, train

    snntorch = pytest.importorskip("snntorch")
    sinabs = pytest.importorskip("sinabs.layers")
    spikingjelly = pytest.importorskip("spikingjelly.activation_based.base")
    graph = move.read(train.load())
    assert type(snnir.export(graph, "snntorch").lif1) is snntorch.Leaky
    # Neither has a layer that subtracts a step late, so cells of their kind are generated.
    assert isinstance(snnir.export(graph, "sinabs").lif1, sinabs.StatefulLayer)
    assert isinstance(snnir.export(graph, "spikingjelly").lif1, spikingjelly.MemoryModule)


@pytest.mark.slow
def test_every_route_gives_the_same_spikes() -> None:
    train_module()
    for name in ("sinabs", "spikingjelly", "norse"):
        pytest.importorskip(name)
    command = [sys.executable, "-m", "examples.frameworks.move"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"200 test images, 40 steps, 10 outputs: \d{4,} spikes", done.stdout)
    rows = re.findall(r"^(snntorch .*?) +(\d+\.\d)% +(\d+) +(\d+)$", done.stdout, re.MULTILINE)
    assert {route for route, *_ in rows} == ROUTES
    assert {(wrong, differing) for _, _, wrong, differing in rows} == {("0", "0")}
    assert len({accuracy for _, accuracy, *_ in rows}) == 1
