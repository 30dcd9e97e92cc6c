"""Training integer graphs: what is trained is what the graph gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch target needs torch")

import snnir
from examples.digits.demo import load_samples
from snnir.ir import Graph
from tests.helpers import ROOT, recurrent, spikes
from tests.passes.test_quantize import readout

BACKENDS = ["eager", "auto"]


def digits() -> Graph:
    return snnir.load(ROOT / "examples" / "digits" / "digits.nir").apply("discretize")


def gradients(built: Graph, x: Any, backend: str) -> dict[str, Any]:
    net = snnir.to_torch(built, surrogate="fast_sigmoid{slope=5}", backend=backend)
    net(torch.from_numpy(x)).sum(0).pow(2).mean().backward()
    names = [name for name in net.tensor_names() if name.endswith(".weight")]
    return {name: net.get_parameter(name).grad.numpy() for name in names}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("build", [digits, recurrent])
def test_fine_integers_have_the_gradients_of_real_numbers(build: Any, backend: str) -> None:
    built = build()
    (signal,) = built.inputs.values()
    x = spikes((20, 4, *signal.shape), 0.3)
    whole = built.apply("quantize{bits=16,state-bits=32,power-of-two,factor-bits=16}")
    real, found = gradients(built, x, backend), gradients(whole, x, backend)
    for name, wanted in real.items():
        error = np.abs(found[name] - wanted).max() / np.abs(wanted).max()
        assert error < 0.02, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_weights_of_three_levels(backend: str) -> None:
    torch.manual_seed(0)
    x, labels, _, _ = load_samples()
    target = torch.from_numpy(labels.astype(np.int64))
    real = digits()
    before = real.apply("quantize{bits=2}")
    net = snnir.to_torch(before, start=real, surrogate="fast_sigmoid{slope=5}", backend=backend)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(30):  # on 120 images
        optimiser.zero_grad()
        answer = net(torch.from_numpy(x[:, :120])).sum(0) / 8
        torch.nn.functional.cross_entropy(answer, target[:120]).backward()
        optimiser.step()
    after = snnir.update(before, net)

    def right(graph: Graph) -> float:
        """Return the share of correct answers on the other 80."""
        out = snnir.compile(graph, level=0).run(x[:, 120:]).output
        return float((out.sum(0).argmax(1) == labels[120:]).mean())

    assert right(before) < 0.6
    assert right(after) > 0.85
    weights = [
        n.op.tensors()["weight"].numpy() for n in after.nodes.values() if n.op.name == "linear"
    ]
    assert all(set(np.unique(weight)) == {-1, 0, 1} for weight in weights)
    with torch.no_grad():
        trained = net(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(snnir.compile(after, level=0).run(x).output, trained)


@pytest.mark.parametrize("options", ["bits=4", "bits=4,zero-point"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_biases_and_thresholds_are_trained(backend: str, options: str) -> None:
    before = readout().apply(f"quantize{{{options}}}")
    x = spikes((20, 6, 2, 6, 6), 0.4)
    biases = {"lif.bias_fixed", "lif2.bias_fixed", "li.bias_fixed"}
    plain = snnir.to_torch(before, backend=backend)
    assert biases <= {name for name, p in plain.named_parameters() if p.requires_grad}
    net = snnir.to_torch(before, backend=backend, trained="all")
    names = {name for name, p in net.named_parameters() if p.requires_grad}
    assert {*biases, "lif.threshold", "lif2.threshold", "lif2.v_reset"} <= names
    assert not {name for name in names if name.endswith("unit")}
    optimiser = torch.optim.Adam(net.parameters(), 3e-2)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = (net(torch.from_numpy(x)).mean(0) - 1.0).pow(2).mean()
        loss.backward()
        losses.append(loss.item())
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]
    after = snnir.update(before, net)
    for node in ("lif", "lif2"):
        own, old = (g[node].op.tensors() for g in (after, before))
        assert {key for key in own if own[key] != old[key]} >= {"bias_fixed", "threshold"}
    with torch.no_grad():
        trained = net(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(snnir.compile(after, level=0).run(x).output, trained)


def test_a_start_of_other_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'fc.weight' has shape \[4, 3\], must be \[5, 8\]"):
        snnir.to_torch(readout().apply("quantize"), start=recurrent())


def large_bias() -> Graph:
    """Return neurons whose bias is far larger than all else."""
    editor = readout().edit()
    op: Any = editor.nodes["fc"].op
    editor.set_op("fc", replace(op, bias=snnir.tensor(1000.0)))
    return editor.graph()


@pytest.mark.parametrize("build", [readout, large_bias])
@pytest.mark.parametrize("options", ["bits=4", "zero-point", "zero-point,per-channel=false"])
def test_a_network_holds_what_its_graph_does(options: str, build: Any) -> None:
    made = build().apply(f"quantize{{{options}}}")
    assert snnir.update(made, snnir.to_torch(made, trained="all")) == made


def test_what_is_cut_off_has_no_gradient() -> None:
    made = readout().apply("quantize{bits=4}")
    net = snnir.to_torch(made)
    weight = net.get_parameter("fc.weight")
    x = torch.from_numpy(spikes((20, 6, 2, 6, 6), 0.4))
    net(x).sum().backward()
    assert weight.grad is not None
    used = weight.grad != 0
    used[2:] = False
    assert used.any()
    weight.grad = None
    with torch.no_grad():
        weight[used] = torch.where(weight[used] > 0, 1e3, -1e3)
    net(x).sum().backward()
    assert (weight.grad[used] == 0).all()
    assert (weight.grad != 0).any()


def test_nothing_changes_without_training(tmp_path: Any) -> None:
    made = readout().apply("quantize{bits=4}")
    net = snnir.to_torch(made)
    assert snnir.update(made, net) == made
    assert net.get_parameter("fc.weight").dtype is torch.float32
    wanted = made["fc"].op.tensors()
    np.testing.assert_allclose(
        net.get_parameter("fc.weight").detach().numpy(),
        wanted["weight"].numpy() * wanted["unit"].numpy()[:, None],
    )
    snnir.compile(made, "torch").save(tmp_path / "out")
    x = spikes((10, 2, 2, 6, 6), 0.4)
    folder = snnir.run(tmp_path / "out", x, list(snnir.populations(made)))
    np.testing.assert_array_equal(folder.output, snnir.compile(made, level=0).run(x).output)


def test_weights_stay_within_their_bits() -> None:
    made = readout().apply("quantize{bits=4}")
    net = snnir.to_torch(made)
    with torch.no_grad():
        net.get_parameter("fc.weight").mul_(100.0)
    after = snnir.update(made, net)
    assert np.abs(after["fc"].op.tensors()["weight"].numpy()).max() == 7
    x = spikes((10, 2, 2, 6, 6), 0.4)
    with torch.no_grad():
        y = net(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(snnir.compile(after, level=0).run(x).output, y)
