"""Runs with other tensors and with recorded values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch target needs torch")

import snnir
from snnir.ir import Graph, Input, Linear, Op
from snnir.streams import Kind, Signal
from tests.helpers import dyadic, feed_forward, graph, lif_step, recurrent, spikes

pytestmark = pytest.mark.framework

BACKENDS = ["eager", "auto"]


def stacked() -> Graph:
    """3 spikes -> 4 neurons -> 2 neurons."""
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(Kind.SPIKES, (3,))), []),
        "fc1": (Linear(snnir.tensor(dyadic((4, 3)))), ["input"]),
        "lif1": (lif_step(), ["fc1"]),
        "fc2": (Linear(snnir.tensor(dyadic((2, 4), 1))), ["lif1"]),
        "lif2": (lif_step(), ["fc2"]),
    }
    return graph(nodes, "lif2", dt=1e-3)


def x_of(steps: int = 20, batch: int = 2) -> Any:
    return torch.from_numpy(spikes((steps, batch, 3), 0.5))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("build", [feed_forward, recurrent])
def test_other_tensors(build: Any, backend: str) -> None:
    built, x = build(), x_of()
    net = snnir.to_torch(built, backend=backend)
    own = net.get_parameter("fc.weight").detach().clone()
    before = net(x).detach()
    latent = (own * 0.5).requires_grad_()
    threshold = torch.tensor(0.75)
    with net.using({"fc.weight": latent * 2}):
        assert torch.equal(net(x), before)
        with net.using({"lif.threshold": threshold}):
            lower = net(x)
    assert lower.sum() > before.sum()
    lower.sum().backward()
    other = snnir.to_torch(built, backend=backend)
    with torch.no_grad():
        other.tensor("lif.threshold").copy_(threshold)
    other(x).sum().backward()
    wanted = other.get_parameter("fc.weight").grad
    torch.testing.assert_close(latent.grad, 2 * wanted, rtol=1e-5, atol=1e-6)
    assert net.get_parameter("fc.weight").grad is None
    assert torch.equal(net(x), before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_recorded_values_are_what_others_read(backend: str) -> None:
    built = stacked()
    x, did = x_of(700, 2), torch.from_numpy(spikes((700, 2, 4), 0.3, 5))
    net = snnir.to_torch(built, backend=backend)
    with torch.no_grad(), net.using(values={"lif1": did}):
        outputs, recorded, _ = net.simulate({"input": x}, ["lif1"])
    assert torch.equal(recorded["lif1"], did)
    tail: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(Kind.SPIKES, (4,))), []),
        "fc2": (built.nodes["fc2"].op, ["input"]),
        "lif2": (built.nodes["lif2"].op, ["fc2"]),
    }
    wanted = snnir.compile(graph(tail, "lif2", dt=1e-3), level=0).run(did.numpy()).output
    assert wanted.sum() > 50
    np.testing.assert_array_equal(outputs["output"].numpy(), wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_recorded_values_in_a_recurrence(backend: str) -> None:
    """What neurons are told they did is what they read a step later."""
    built = recurrent()
    x, did = x_of(), torch.from_numpy(spikes((20, 2, 4), 0.4, 5))
    net = snnir.to_torch(built, backend=backend)
    with net.using(values={"lif": did}):
        outputs, recorded, _ = net.simulate({"input": x}, ["rec"])
    assert torch.equal(outputs["output"], did)
    late = torch.cat([torch.zeros(1, 2, 4), did[:-1]])
    torch.testing.assert_close(recorded["rec"], late @ net.get_parameter("rec.weight").T)
    outputs["output"].sum().backward()
    assert float(net.get_parameter("fc.weight").grad.abs().max()) > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_those_of_what_is_computed(backend: str) -> None:
    """A recording of what the network does itself changes no gradient."""
    built, x = stacked(), x_of()
    net = snnir.to_torch(built, backend=backend)
    with torch.no_grad():
        did = net.simulate({"input": x}, ["lif1", "lif2"])[1]
    found = []
    recordings: list[dict[str, Any]] = [{}, did]
    for values in recordings:
        net.zero_grad()
        with net.using(values=values):
            (net(x) * torch.linspace(-1, 1, 20)[:, None, None]).sum().backward()
        found.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert len(found[0]) == 2
    for a, b in zip(*found, strict=True):
        assert float(a.abs().max()) > 0
        torch.testing.assert_close(a, b)


def test_names_and_shapes_are_checked() -> None:
    net, x = snnir.to_torch(stacked()), x_of()
    with pytest.raises(ValueError, match="no tensor 'fc3.weight'"), net.using({"fc3.weight": x}):
        pass
    said = r"'fc1.weight' has shape \[20, 2, 3\], must be \[4, 3\]"
    with pytest.raises(ValueError, match=said), net.using({"fc1.weight": x}):
        pass
    for name in ("fc1", "input", "lif3"):
        said = f"'{name}' is not a population"
        with pytest.raises(ValueError, match=said), net.using(values={name: x}):
            pass
    said, short = r"'lif1' are \[19, 2, 4\], must be \[20, 2, 4\]", torch.zeros(19, 2, 4)
    with pytest.raises(ValueError, match=said), net.using(values={"lif1": short}):
        net(x)
    assert net(x).shape == (20, 2, 2)


def test_the_folder_has_it_too(tmp_path: Path) -> None:
    snnir.compile(stacked(), "torch").save(tmp_path / "out")
    code = (
        "import torch, model; net = model.load('eager')\n"
        "with net.using(values={'lif2': torch.ones(5, 1, 2)}): y = net(torch.zeros(5, 1, 3))\n"
        "assert y.sum() == 10"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
