"""Layers and recurrences in one compiled call each way: gradients as in plain torch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the torch target needs torch")

import snnir
from snnir.ir import Add, Bias, Current, Delay, Graph, Input, Linear, Op, Scale, Signal, Step
from snnir.streams import Kind
from tests.helpers import dyadic, graph, lif_step, recurrent, spikes
from tests.strategies import lif_steps
from tests.targets import inputs, tangled
from tests.torch_sim.test_conformance import HAS_C
from tests.torch_sim.test_training import close

pytestmark = [
    pytest.mark.framework,
    pytest.mark.skipif(not HAS_C, reason="there is no C compiler"),
]
SURROGATES = ["fast_sigmoid", "atan", "triangle{alpha=4}", "rectangle{width=0.25}"]


def layer(step: Step, inputs: int, neurons: int, bias: bool) -> Graph:
    """A linear layer and a population."""
    own = snnir.tensor(dyadic((neurons,))) if bias else None
    weight = snnir.tensor(dyadic((neurons, inputs), 3) * np.float32(0.5))
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.ANALOG, (inputs,))), []),
        "fc": (Linear(weight, own), ["x"]),
        "n": (step, ["fc"]),
    }
    return graph(nodes, "n", dt=1e-3)


def trained(
    built: Graph, x: Any, backend: str, pieces: int = 1, **options: Any
) -> tuple[dict[str, Any], Any, Any]:
    """Return spikes, the gradients of inputs and weights, and the network.

    The run is cut into pieces that hand on their state, through which gradients pass.
    """
    net = snnir.to_torch(built, backend=backend, **options)
    given = {name: torch.as_tensor(v).clone().requires_grad_() for name, v in x.items()}
    time = len(next(iter(given.values())))
    cuts = [time * k // pieces for k in range(pieces + 1)]
    state: Any = None
    parts = []
    for first, last in itertools.pairwise(cuts):
        now = {name: v[first:last] for name, v in given.items()}
        outputs, _, state = net.simulate(now, (), state)
        parts.append(outputs)
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    loss: Any = 0
    for y in found.values():
        weight = torch.linspace(-1, 1, y[0].numel()).reshape(y[0].shape)
        loss = loss + (y.sum(0) * weight).sum() + (y * y * weight).mean()  # one repeats over time
    loss = loss + sum(v.sum() for own in state.values() for v in own.values())
    loss.backward()
    grads = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
    grads |= {name: v.grad for name, v in given.items()}
    return {name: y.detach() for name, y in found.items()}, grads, net


def same(built: Graph, x: Any, **options: Any) -> Any:
    """Compare compiled code with plain torch; return the compiled network."""
    want, grads, _ = trained(built, x, "eager", **options)
    got, found, net = trained(built, x, "c", **options)
    for name, y in want.items():
        assert torch.equal(got[name], y), name
    assert set(found) == set(grads)
    for name, value in grads.items():
        assert (found[name] is None) == (value is None), name
        if value is not None:
            close(found[name], value, name)
    return net


@settings(max_examples=60)
@given(
    step=lif_steps(1),
    sizes=st.tuples(
        st.sampled_from([1, 30, 70]), st.sampled_from([1, 10, 16, 17, 40, 64, 65, 130])
    ),
    shape=st.sampled_from([(1, 1), (7, 3), (90, 16), (3, 1100)]),
    bias=st.booleans(),
    gain=st.sampled_from([1.0, 1.5]),
    surrogate=st.sampled_from(SURROGATES),
    detach=st.booleans(),
    pieces=st.sampled_from([1, 2]),
)
def test_layers(
    step: Step, sizes: tuple[int, int], shape: tuple[int, int], bias: bool, gain: float,
    surrogate: str, detach: bool, pieces: int,
) -> None:  # fmt: skip
    x = gain * spikes((*shape, sizes[0]), 0.1)
    same(
        layer(step, *sizes, bias), {"x": x}, surrogate=surrogate, detach_reset=detach,
        pieces=min(pieces, shape[0]),
    )  # fmt: skip


LOSSES = {
    "all": lambda y: y.sum(),
    "turned": lambda y: (y.permute(2, 0, 1) * torch.linspace(-1, 1, len(y))[:, None]).sum(),
    "few": lambda y: (y[:, :, :2] * torch.linspace(-1, 1, len(y))[:, None, None]).sum(),
    "last": lambda y: y[-1].pow(2).sum(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_of_every_layout_and_of_mostly_zeros(loss: str) -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.ANALOG, (70,))), []),
        "fc1": (Linear(snnir.tensor(dyadic((40, 70), 3) * np.float32(0.5))), ["x"]),
        "n1": (lif_step(), ["fc1"]),
        "fc2": (Linear(snnir.tensor(dyadic((100, 40), 5))), ["n1"]),
        "n2": (lif_step(), ["fc2"]),
    }
    for built in (graph(nodes, "n2", dt=1e-3), layer(lif_step(), 70, 40, True)):
        found = []
        for backend in ("eager", "c"):
            net = snnir.to_torch(built, backend=backend)
            x = torch.as_tensor(spikes((30, 4, 70), 0.1)).requires_grad_()
            LOSSES[loss](net(x)).backward()
            found.append({"x": x.grad, **{name: p.grad for name, p in net.named_parameters()}})
        for name, value in found[0].items():
            if value is not None:
                assert value.any(), name
                close(found[1][name], value, name)


def test_long_sums_of_a_bias_keep_their_digits() -> None:
    built = layer(lif_step(), 3, 5, True)
    x = torch.as_tensor(spikes((4000, 16, 3), 0.1))
    found = []
    for precision in ("float32", "float64"):
        net = snnir.to_torch(built, precision=precision)
        net(x.to(getattr(torch, precision))).sum().backward()
        found.append(net.tensor("fc.bias").grad.double())
    assert float(((found[0] - found[1]) / found[1]).abs().max()) < 2e-6


@pytest.mark.parametrize("build", [lambda: layer(lif_step(), 5, 4, True), recurrent])
def test_gradients_of_gradients_are_refused(build: Any) -> None:
    built = build()
    net = snnir.to_torch(built)
    x = torch.as_tensor(spikes((12, 2, *built.inputs[next(iter(built.inputs))].shape)))
    weight = net.tensor("fc.weight")
    (grad,) = torch.autograd.grad(net(x).sum(0).pow(2).sum(), weight, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        grad.sum().backward()


def test_a_state_of_another_batch_is_refused() -> None:
    for built in (layer(lif_step(), 3, 4, True), recurrent(2)):
        net = snnir.to_torch(built)
        net.stateful = True
        net(torch.zeros(3, 2, 3))
        with pytest.raises(ValueError, match="a batch of 2, the input has 512"):
            net(torch.zeros(3, 512, 3))
        net.reset()
        assert net(torch.zeros(3, 512, 3)).shape[1] == 512
        for shape in ((0, 2, 3), (2, 0, 3)):
            with pytest.raises(ValueError, match="a step and a sample"):
                net(torch.zeros(shape))


def test_a_layer_is_one_call() -> None:
    built, x = layer(lif_step(), 70, 40, True), spikes((50, 4, 70), 0.1)
    net = same(built, {"x": x})
    assert [bool(made) for made in net.kit._layers.values()] == [True]
    # Parameters of neurons are trained by the separate scan, to the same gradients.
    same(built, {"x": x}, trained="all")
    # So are recorded currents and states, which a layer in one call does not have.
    given = torch.as_tensor(x)
    with torch.no_grad():
        _, recorded, _ = net.simulate({"x": given}, ["fc", "n:v", "n"])
        assert torch.equal(recorded["n"], net(given))
    eager = snnir.to_torch(built, backend="eager")
    with torch.no_grad():
        _, want, _ = eager.simulate({"x": given}, ["fc", "n:v", "n"])
    assert all(torch.equal(recorded[name], y) for name, y in want.items())


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("batch", [1, 3, 8, 13])
@pytest.mark.parametrize("learned", ["weights", "all"])
def test_recurrences(surrogate: str, batch: int, learned: str) -> None:
    options = {"surrogate": surrogate, "trained": learned}
    for delay in (1, 3):
        same(recurrent(delay), {"input": spikes((12, batch, 3))}, pieces=2, **options)
    built = tangled()
    net = same(built, inputs(built, 11, batch), pieces=3, **options)
    assert net.kit._loops


def test_a_delay_of_a_delay() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.ANALOG, (5,))), []),
        "late": (Delay(2), ["n"]),
        "later": (Delay(3), ["late"]),
        "fc": (Linear(snnir.tensor(dyadic((5, 5)))), ["later"]),
        "now": (Current(), ["late"]),
        "sum": (Add(), ["x", "fc", "now"]),
        "n": (lif_step(), ["sum"]),
    }
    built = graph(nodes, "n", dt=1e-3)
    net = same(built, {"x": spikes((20, 3, 5), 0.5)}, pieces=2, trained="all")
    assert net.kit._loops


@pytest.mark.parametrize("delay", [2, 30])
def test_factors_and_biases_in_recurrences(delay: int) -> None:
    """What a factor multiplies is found again among the spikes, before the first step in the line."""
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.ANALOG, (5,))), []),
        "late": (Delay(delay), ["n"]),
        "now": (Current(), ["late"]),
        "shift": (Bias(snnir.tensor(dyadic((5,)))), ["now"]),
        "half": (Scale(snnir.tensor(dyadic((5,), 3))), ["shift"]),
        "again": (Scale(snnir.tensor(dyadic((5,), 4))), ["now"]),
        "sum": (Add(), ["x", "half", "again"]),
        "n": (lif_step(), ["sum"]),
    }
    built = graph(nodes, "n", dt=1e-3)
    options = {"pieces": 2, "trained": "all"}
    net = same(built, {"x": spikes((20, 3, 5), 0.5)}, **options)
    assert net.kit._loops
    assert net.tensor("again.scale").requires_grad


def test_two_threads_change_nothing() -> None:
    built = layer(lif_step(), 300, 200, True)
    x, before = spikes((60, 16, 300), 0.1), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(trained(built, {"x": x}, "c")[:2])
    finally:
        torch.set_num_threads(before)
    (one, grads), (two, others) = found
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(torch.equal(grads[name], others[name]) for name in grads if name != "x")
