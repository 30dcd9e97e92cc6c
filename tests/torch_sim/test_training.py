"""Gradients and training: equal to the frameworks', on every backend, and back into the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the torch target needs torch")

import snnir
from snnir.ir import Graph, Input, Linear, Neuron, Node, Op, Signal, Step, Value
from snnir.streams import Kind
from snnir.targets.torch_sim.engine import Network
from tests.helpers import dyadic, feed_forward, graph, lif_step, params, recurrent, spikes
from tests.strategies import lif_steps
from tests.targets import inputs, neuron_graph, tangled
from tests.torch_sim.test_conformance import BACKENDS, HAS_C

pytestmark = pytest.mark.framework
needs_c = pytest.mark.skipif(not HAS_C, reason="there is no C compiler")


def net_of(built: Graph, **options: Any) -> Any:
    return snnir.to_torch(built, trained="all", **options)


def gradients(net: Any, x: Any, weight: Any) -> dict[str, Any]:
    """Return the gradients of a weighted sum of the output, those of the input too."""
    x = torch.as_tensor(x).clone().requires_grad_()
    out = net(x)
    (out * torch.as_tensor(weight)).sum().backward()
    found = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return {**found, "input": x.grad}


def close(a: Any, b: Any, name: str = "") -> None:
    """Assert equality relative to the largest element."""
    scale = float(b.abs().max()) or 1.0
    worst = float((a - b).abs().max()) / scale
    limit = 1e-3 if b.ndim == 0 else 1e-5  # a sum over all neurons and steps, which cancels
    assert worst < limit, f"{name}: {worst}"


def same_gradients(built: Graph, x: Any, **options: Any) -> None:
    """The compiled backend's gradients are those of plain torch."""
    rng = np.random.default_rng(3)
    one, two = net_of(built, backend="eager", **options), net_of(built, backend="c", **options)
    with torch.no_grad():
        shape = one(torch.as_tensor(x)).shape
    weight = rng.standard_normal(shape).astype(np.float32)
    want, got = gradients(one, x, weight), gradients(two, x, weight)
    assert set(want) == set(got)
    for name, value in want.items():
        close(got[name], value, name)


@needs_c
@settings(max_examples=40)
@given(step=lif_steps(1), detach=st.booleans(), name=st.sampled_from(["atan", "fast_sigmoid"]))
def test_compiled_gradients_of_the_family(step: Step, detach: bool, name: str) -> None:
    built = neuron_graph([step], (3,)).edit().graph()
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.ANALOG, (3,))), []),
        "n": (step, ["x"]),
    }
    built = graph(nodes, "n", dt=1e-3)
    x = np.random.default_rng(0).integers(-20, 40, (15, 2, 3)).astype(np.float32) / 16
    same_gradients(built, x, surrogate=name, detach_reset=detach)


@needs_c
@pytest.mark.parametrize("rate", [0.05, 0.6])
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_compiled_gradients_of_a_network(rate: float, gain: float) -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.ANALOG, (70,))), []),
        "fc1": (Linear(snnir.tensor(dyadic((130, 70))), snnir.tensor(dyadic((130,)))), ["x"]),
        "lif1": (
            lif_step(reset="subtract") if gain == 1 else Step(
                snnir.LifStep(), params(beta=dyadic((130,)) / 2 + 0.25, threshold=1.0)
            ), ["fc1"],
        ),
        "fc2": (Linear(snnir.tensor(dyadic((10, 130), 4) / 8)), ["lif1"]),
        "lif2": (lif_step(fire="ge", reset="zero"), ["fc2"]),
    }  # fmt: skip
    same_gradients(graph(nodes, "lif2", dt=1e-3), gain * spikes((40, 3, 70), rate))


@needs_c
@pytest.mark.parametrize("delay", [1, 3])
def test_compiled_gradients_of_a_recurrence(delay: int) -> None:
    same_gradients(recurrent(delay), spikes((25, 4, 3)))


@needs_c
@pytest.mark.parametrize("steps", [3, 30])
def test_compiled_gradients_of_a_tangled_recurrence(steps: int) -> None:
    built = tangled()
    given = inputs(built, steps, 5)
    found = []
    for backend in ("eager", "c"):
        net = net_of(built, backend=backend, surrogate="atan")
        xs = {k: torch.as_tensor(x).clone().requires_grad_() for k, x in given.items()}
        outputs, _, state = net.simulate(xs)
        weights = torch.linspace(-1, 1, steps * 5).reshape(steps, 5)
        loss = sum(
            (y * weights.reshape(steps, 5, *(1,) * (y.ndim - 2))).sum() for y in outputs.values()
        )
        ends = [v for own in state.values() for v in own.values()]
        (loss + sum((v * 0.5).sum() for v in ends)).backward()
        grads = {name: p.grad for name, p in net.named_parameters()}
        found.append({**grads, **{name: x.grad for name, x in xs.items()}})
    for name, value in found[0].items():
        if value is None:
            assert found[1][name] is None
        else:
            close(found[1][name], value, name)


def snntorch_net(**rules: Any) -> Any:
    """Return a snnTorch network with a time loop, and its layers."""
    snn = pytest.importorskip("snntorch", reason="compares with snnTorch")
    from snntorch import surrogate
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            grad = surrogate.fast_sigmoid(slope=25)
            self.fc1, self.fc2 = nn.Linear(30, 40), nn.Linear(40, 10)
            self.lif1 = snn.Leaky(beta=0.9, spike_grad=grad, **rules)
            self.lif2 = snn.Leaky(beta=0.8, spike_grad=grad, **rules)

        def forward(self, x: Any) -> Any:
            m1, m2 = self.lif1.init_leaky(), self.lif2.init_leaky()
            out = []
            for now in x:
                s, m1 = self.lif1(self.fc1(now), m1)
                s, m2 = self.lif2(self.fc2(s), m2)
                out.append(s)
            return torch.stack(out)

    torch.manual_seed(0)
    return Net()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "rules",
    [
        {"reset_mechanism": "subtract"},
        {"reset_mechanism": "zero"},
        {"reset_mechanism": "none"},
        {"reset_mechanism": "subtract", "reset_delay": False},
        {"reset_mechanism": "zero", "reset_delay": False},
    ],
    ids=str,
)
def test_gradients_are_those_of_snntorch(rules: dict[str, Any], backend: str) -> None:
    source = snntorch_net(**rules)
    net = snnir.to_torch(
        snnir.from_torch(source, (30,)), surrogate="fast_sigmoid{slope=25}", backend=backend,
        detach_reset="late" if "reset_delay" in rules else True,
    )  # fmt: skip
    x = torch.as_tensor(spikes((50, 8, 30), 0.4))
    want, got = source(x), net(x)
    assert torch.equal(want, got)
    assert want.sum() > 50
    for out in (want, got):
        out.sum(0).pow(2).mean().backward()
    for name, p in source.named_parameters():
        close(dict(net.named_parameters())[name].grad, p.grad, name)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("hard", [True, False])
def test_gradients_are_those_of_spikingjelly(detach: bool, hard: bool) -> None:
    pytest.importorskip("spikingjelly", reason="compares with SpikingJelly")
    from spikingjelly.activation_based import layer, neuron, surrogate
    from torch import nn

    torch.manual_seed(1)
    source = nn.Sequential(
        layer.Linear(30, 40, step_mode="m"),
        neuron.LIFNode(
            tau=2.0, v_reset=0.0 if hard else None, surrogate_function=surrogate.ATan(),
            detach_reset=detach, step_mode="m",
        ),
    )  # fmt: skip
    built = snnir.from_torch(source, (30,))
    net = snnir.to_torch(built, surrogate="atan", detach_reset=detach)
    x = torch.as_tensor(spikes((30, 8, 30), 0.5)) * 3
    want, got = source(x), net(x)
    assert torch.equal(want, got)
    assert want.sum() > 50
    for out in (want, got):
        (out.sum(0) ** 2).mean().backward()
    for p, q in zip(source.parameters(), net.parameters(), strict=False):
        close(q.grad, p.grad)


def train(net: Any, x: Any, y: Any, steps: int) -> list[float]:
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 2e-3)
    right = []
    for _ in range(steps):
        optimiser.zero_grad()
        rates = net(x).mean(0)
        torch.nn.functional.cross_entropy(rates * 10, y).backward()
        optimiser.step()
        right.append(float((rates.argmax(1) == y).float().mean()))
    return right


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_takes_the_course_it_takes_in_snntorch(backend: str) -> None:
    """Import, train, deploy: the same accuracy at every step, and the weights in the graph."""
    generator = np.random.default_rng(0)
    patterns = generator.random((10, 30))
    y = torch.arange(80) % 10
    x = torch.as_tensor((generator.random((25, 80, 30)) < patterns[y]).astype(np.float32))
    source = snntorch_net(reset_mechanism="subtract")
    imported = snnir.from_torch(source, (30,))
    net = snnir.to_torch(imported, surrogate="fast_sigmoid{slope=25}", backend=backend)
    want, got = train(source, x, y, 40), train(net, x, y, 40)
    assert want[-1] > 0.6 > want[0]
    assert np.abs(np.subtract(want, got)).max() <= 0.05
    trained = snnir.update(imported, net)
    assert trained != imported
    deployed = snnir.compile(trained, "numpy", precision="float32").run(x.numpy())
    with torch.no_grad():
        assert (deployed.output != net(x).numpy()).mean() < 1e-3


def test_named_parameters_and_state_dict() -> None:
    net = snnir.to_torch(feed_forward())
    names = [name for name, _ in net.named_parameters()]
    assert sorted(names) == ["fc.bias", "fc.weight", "lif.beta", "lif.threshold"]
    assert [n for n, p in net.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    other = snnir.to_torch(feed_forward())
    with torch.no_grad():
        other.fc.weight.mul_(0)
    assert snnir.update(feed_forward(), other).tensors()["fc.weight"].numpy().sum() == 0
    other.load_state_dict(net.state_dict())
    assert snnir.update(feed_forward(), other) == feed_forward()


def test_neuron_parameters_train_and_come_back() -> None:
    built = feed_forward()
    net = net_of(built, surrogate="atan")
    x = torch.as_tensor(spikes((20, 4, 3), 0.5))
    optimiser = torch.optim.SGD(net.parameters(), 0.01)
    net(x).mean().backward()
    optimiser.step()
    trained = snnir.update(built, net)
    assert trained.tensors()["lif.beta"] != built.tensors()["lif.beta"]
    with torch.no_grad():
        np.testing.assert_array_equal(
            net(x).numpy(), snnir.compile(trained, "numpy").run(x.numpy()).output
        )


def test_trained_factors_of_continuous_neurons_are_refused() -> None:
    given = params(tau=np.float64(0.01), r=1.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0)
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (3,))), []),
        "fc": (Linear(snnir.tensor(dyadic((4, 3)))), ["x"]),
        "lif": (Neuron("lif", given, snnir.preset("norse").for_model("lif")), ["fc"]),
    }
    built = graph(nodes, "lif", dt=1e-3)
    net = net_of(built)
    with torch.no_grad():
        net.fc.weight.add_(0.5)
    assert snnir.update(built, net).tensors()["fc.weight"].numpy()[0, 0] == (
        dyadic((4, 3))[0, 0] + 0.5
    )
    with torch.no_grad():
        next(p for n, p in net.named_parameters() if n.startswith("lif.")).mul_(0.5)
    with pytest.raises(snnir.SnnirError, match=r"SNN202.*'lif'.*net\.graph"):
        snnir.update(built, net)
    assert snnir.update(net.graph, net) != net.graph


def test_update_wants_its_own_network() -> None:
    with pytest.raises(snnir.SnnirError, match="to_torch"):
        snnir.update(feed_forward(), torch.nn.Linear(3, 4))


def test_stateful_networks_go_on_where_they_were() -> None:
    x = torch.as_tensor(spikes((20, 2, 3)))
    net = snnir.to_torch(recurrent())
    whole = net(x)
    net.stateful = True
    parts = torch.cat([net(x[:7]), net(x[7:])])
    assert torch.equal(parts, whole)
    net.reset()
    assert torch.equal(net(x), whole)


def test_autocast_changes_no_spike() -> None:
    x = torch.as_tensor(spikes((30, 4, 3)))
    net = snnir.to_torch(feed_forward())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(x)
    assert out.dtype == torch.float32
    assert torch.equal(out, net(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_losses_on_recorded_membranes_train_too(backend: str) -> None:
    net = snnir.to_torch(feed_forward(), backend=backend)
    x = torch.as_tensor(spikes((10, 2, 3)))
    _, records, _ = net.simulate({"input": x}, ["lif:v"])
    records["lif:v"].square().sum().backward()
    found = net.fc.weight.grad.clone()
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            net.fc.bias[0] += sign * 1e-3
            v = net.simulate({"input": x}, ["lif:v"])[1]["lif:v"]
            values.append(float(v.square().sum()))
            net.fc.bias[0] -= sign * 1e-3
    assert found.abs().sum() > 0
    slope = (values[0] - values[1]) / 2e-3
    assert float(net.fc.bias.grad[0]) == pytest.approx(slope, rel=0.05)


def test_names_that_torch_does_not_allow() -> None:
    fc = Linear(snnir.tensor(dyadic((3, 3))))
    nodes = {"x": Node("x", Input(Signal(Kind.SPIKES, (3,))))}
    last = "x"
    for name in (".", "..", "a", "a.weight", "forward", "model", "é\n", "tensor"):
        nodes[name] = Node(name, fc, (Value(last),))
        last = name
    built = Graph(nodes, {"y": Value(last)}, 1e-3)
    net = snnir.to_torch(built)
    assert isinstance(net, Network)
    assert len(list(net.parameters())) == 8
    assert snnir.update(built, net) == built
    x = spikes((4, 2, 3))
    with torch.no_grad():
        y = net(torch.as_tensor(x))
    want = snnir.compile(built, "numpy").run(x).output
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-4)  # sums of sums are not exact


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"backend": "cuda"}, "backend is 'cuda'"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"trained": "some"}, "trained is 'some'"),
        ({"detach_reset": "some"}, "detach_reset is 'some'"),
        ({"surrogate": "step"}, "no surrogate 'step'"),
        ({"device": "nowhere"}, "device 'nowhere'"),
        ({"device": "cuda:77"}, "device 'cuda:77'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, str], word: str) -> None:
    with pytest.raises(snnir.SnnirError, match=word):
        snnir.to_torch(feed_forward(), **options)  # type: ignore[arg-type]


def test_a_missing_compiler_is_named_or_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from snnir import c_build
    from snnir.targets.torch_sim import compiled

    def none() -> list[str]:
        raise c_build.NoCompiler("no C compiler was found")

    monkeypatch.setattr(c_build, "compiler", none)
    compiled.library.cache_clear()
    with pytest.raises(snnir.SnnirError, match="no C compiler"):
        snnir.to_torch(feed_forward(), backend="c")
    net = snnir.to_torch(feed_forward())
    assert "no C compiler" in net.kit.reason
    x = spikes((20, 2, 3))
    with torch.no_grad():
        y = net(torch.as_tensor(x)).numpy()
    np.testing.assert_array_equal(y, snnir.compile(feed_forward(), "numpy").run(x).output)
    monkeypatch.setenv("CC", "false")
    monkeypatch.undo()
    compiled.library.cache_clear()


def test_a_broken_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from snnir.targets.torch_sim import compiled

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "false")
    compiled.library.cache_clear()
    with pytest.raises(snnir.SnnirError, match="false does not compile"):
        snnir.to_torch(feed_forward(), backend="c")
    compiled.library.cache_clear()


def test_the_wrong_input_shape_is_named() -> None:
    net = snnir.to_torch(feed_forward())
    with pytest.raises(ValueError, match=r"'input' must be \[T, B"):
        net(torch.zeros(5, 2, 4))
