"""What cannot be read is refused, all at once, with what would help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir import SnnirError
from tests.bindsnet_nets.nets import (
    RNG,
    Network,
    connect,
    learning,
    nodes,
    spikes,
    torch,
    weights,
)

pytestmark = pytest.mark.framework


def small(**options: Any) -> Any:
    """Return X -> A."""
    net = Network(dt=1.0)
    net.add_layer(nodes.Input(4, traces=True), "X")
    net.add_layer(nodes.LIFNodes(3, traces=True, thresh=-60.0), "A")
    connect(net, "X", "A", w=weights(RNG(0), 4, 3, 6.0, dyadic=True), **options)
    return net


def refused(net: Any, **options: Any) -> dict[str | None, Any]:
    """Return the diagnostics of a network by node."""
    with pytest.raises(SnnirError) as caught:
        snnir.from_bindsnet(net, **options)
    return {diagnostic.node: diagnostic for diagnostic in caught.value.diagnostics}


class Own(nodes.LIFNodes):
    """A layer of the user's."""


class OwnRule(learning.PostPre):
    """A rule of the user's."""


def test_all_layers_at_once() -> None:
    net = small()
    net.add_layer(nodes.CSRMNodes(3), "csrm")
    net.add_layer(Own(3), "own")
    net.add_layer(nodes.Input(3), "back")
    connect(net, "A", "back", w=torch.eye(3))
    found = refused(net)
    assert list(found) == ["csrm", "own", "back"]
    assert {d.code for d in found.values()} == {"SNN802"}
    assert "window" in found["csrm"].message
    assert "LIFNodes" in found["own"].hint
    assert "McCullochPitts" in found["back"].hint


def test_all_connections_at_once() -> None:
    net = small(update_rule=OwnRule, nu=0.1)
    net.add_layer(nodes.Input(shape=[1, 6, 6], traces=True), "I")
    net.add_layer(nodes.LIFNodes(shape=[1, 4, 4], traces=True), "C")
    net.add_layer(nodes.LIFNodes(shape=[1, 2, 2]), "P")
    net.add_layer(nodes.LIFNodes(3), "B")
    connect(net, "I", "C", "Conv2dConnection", kernel_size=3, update_rule=learning.PostPre, nu=0.1)
    connect(net, "C", "P", "MaxPool2dConnection", kernel_size=2, stride=2)
    connect(net, "A", "B", "MeanFieldConnection", w=torch.tensor(1.0))
    connect(net, "X", "B", w=weights(RNG(0), 4, 3, 1.0, True).double(), w_dtype=torch.float64)
    found = refused(net)
    assert list(found) == ["X_to_A", "I_to_C", "C_to_P", "A_to_B", "X_to_B"]
    assert "OwnRule" in found["X_to_A"].message
    assert "train(False)" in found["X_to_A"].hint
    assert "PostPre" in found["I_to_C"].message
    assert "decay" in found["C_to_P"].message
    assert found["X_to_B"].code == "SNN807"
    net.train(False)
    assert list(refused(net)) == ["C_to_P", "A_to_B", "X_to_B"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": ["B"]}, "no layer 'B'"),
        ({"inputs": ["X"]}, "is an Input"),
        ({"inputs": ["A"], "one_step": True}, "drops"),
        ({"masks": {("A", "X"): 1}}, "no connection"),
        ({"a_plus": 1}, "must be a float"),
        ({"draws": "torch"}, "counter or input"),
        ({"seed": -1}, "seed"),
        ({"clamp": {"A": 1}}, "clamp"),
        ({"surprise": 1}, "no option"),
        ({"inputs": 5}, "inputs must be names of layers"),
        ({"inputs": [["A"]]}, "inputs must be names of layers"),
        ({"one_step": "no"}, "one_step must be True or False"),
        ({"masks": [1, 2]}, "masks must be {(source, target): mask}"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"injects_v": 5}, "injects_v is not read"),
    ],
)
def test_options(options: dict[str, Any], said: str) -> None:
    assert said in refused(small(), **options)[None].message


@pytest.mark.parametrize("norm", [float("nan"), "much"])
def test_a_norm_is_a_number(norm: Any) -> None:
    assert "norm is" in refused(small(norm=norm))["X_to_A"].message


def test_a_mask_must_fit() -> None:
    found = refused(small(), masks={("X", "A"): torch.ones(3, 4, dtype=torch.bool)})
    assert "bool [4, 3]" in found["X_to_A"].message


def test_changed_code_is_found() -> None:
    net = small()
    forward = nodes.LIFNodes.forward

    def shifted(self: Any, x: Any) -> None:
        forward(self, x + 0.5)

    nodes.LIFNodes.forward = shifted
    try:
        assert refused(net)["A"].code == "SNN808"
    finally:
        nodes.LIFNodes.forward = forward


def test_replaced_methods_and_missing_parts() -> None:
    net = small()
    net.layers["A"].forward = lambda x: None
    net.connections["X", "A"].update = lambda **options: None
    assert list(refused(net)) == ["A", "X_to_A"]
    net = small()
    del net.layers["A"].lbound, net.connections["X", "A"].wmin
    net.connections["X", "A"].b = "much"
    assert list(refused(net)) == ["X_to_A", "A"]


def test_replaced_methods_are_not_called() -> None:
    """A replacement may hold the original network, which reading leaves as it is."""
    net = small(update_rule=learning.PostPre, nu=0.1)
    connection = net.connections["X", "A"]
    before = connection.w.clone()
    own = connection.update_rule.update
    connection.update_rule.update = lambda **options: connection.w.mul_(0.5)
    assert "rule's update" in refused(net)["X_to_A"].message
    connection.update_rule.update = own
    net.run = net.run
    assert "run was replaced" in refused(net)[None].message
    assert torch.equal(before, connection.w)


@pytest.mark.parametrize("elsewhere", ["rounds", "does not"])
def test_changed_code_is_found_beside_what_rounds(elsewhere: str) -> None:
    net = small(update_rule=learning.PostPre, nu=(1e-3, 1e-2))
    if elsewhere == "rounds":
        net.add_layer(nodes.Input(shape=[1, 6, 6]), "I")
        net.add_layer(nodes.LIFNodes(shape=[2, 4, 4], thresh=-60.0), "C")
        kernel = weights(RNG(1), 2, 9, 2.0, dyadic=False).reshape(2, 1, 3, 3)
        connect(net, "I", "C", "Conv2dConnection", kernel_size=3, w=kernel)
        assert snnir.from_bindsnet(net)
    connection = net.connections["X", "A"]
    waning = learning.PostPre(connection=connection, nu=(1e-3, 1e-2), weight_decay=0.1)
    connection.update_rule = waning  # the connection itself says that nothing is lost
    assert [d.code for d in refused(net).values()] == ["SNN808"]


def shifted_conv(threshold: float, shift: float) -> dict[str, tuple[Any, Any]]:
    """Return membranes and spikes of a layer, theirs and ours, that start to differ by a shift."""
    theirs = np.linspace(0, 1, 24, dtype=np.float32).reshape(6, 1, 4)
    ours = theirs.copy()
    ours[2:] += np.float32(shift)
    fired = [(v >= threshold).astype(np.float32) for v in (theirs, ours)]
    return {"A": (fired[0], fired[1]), "A:v": (theirs, ours)}


def test_what_rounding_explains() -> None:
    from snnir.frontends.bindsnet_nets.confirm import unexplained

    assert unexplained(shifted_conv(9.0, 1e-7), {"A"}, ["A"]) is None
    assert unexplained(shifted_conv(9.0, 1e-2), {"A"}, ["A"]) == "A:v"
    assert unexplained(shifted_conv(9.0, 1e-2), set(), ["A"]) == "A:v"
    later = shifted_conv(9.0, 1e-7)
    later["A:v"][1][4:] += 0.5  # as when a spike made a difference
    assert unexplained(later, {"A"}, ["A"]) is None
    assert unexplained(later, set(), ["A"]) == "A:v"
    flipped = shifted_conv(9.0, 0.0)
    flipped["A"][1][3, 0, 1] = 1.0  # one more spike, though nothing was rounded
    assert unexplained(flipped, {"A"}, ["A"]) == "A"


def test_a_transposed_weight_may_round() -> None:
    net = Network(dt=1.0)
    net.add_layer(nodes.Input(200), "X")
    net.add_layer(nodes.IFNodes(100, thresh=1.0, reset=0.0), "A")
    connect(net, "X", "A", w=weights(RNG(0), 100, 200, 0.02, dyadic=False).t())
    graph = snnir.from_bindsnet(net)
    net.connections["X", "A"].w.data = net.connections["X", "A"].w.contiguous()
    assert "equal in every bit" in snnir.from_bindsnet(net).provenance.notes[-1]
    assert graph.provenance.notes[-1].startswith("beside BindsNET over 32 steps")


def test_one_tensor_for_two_connections() -> None:
    """BindsNET changes it in place, so what one connection learns the other has too."""
    tensor = weights(RNG(0), 4, 3, 6.0, dyadic=True)

    def two(**options: Any) -> Any:
        net = small()
        net.add_layer(nodes.LIFNodes(3, traces=True), "B")
        net.add_layer(nodes.LIFNodes(3, traces=True), "C")
        connect(net, "X", "B", w=tensor)
        connect(net, "X", "C", w=tensor, **options)
        return net

    snnir.from_bindsnet(two())
    for options in ({"update_rule": learning.PostPre, "nu": 0.1}, {"norm": 2.0}):
        assert "X_to_B" in refused(two(**options))["X_to_C"].message
    learns = {"update_rule": learning.PostPre, "nu": 0.1}
    net = two(**learns)
    net.train(False)
    assert snnir.from_bindsnet(net)


@pytest.mark.parametrize(("name", "value"), [("connections", None), ("dt", "x"), ("layers", 3)])
def test_networks_that_were_tampered_with(name: str, value: Any) -> None:
    net = small()
    vars(net)[name] = value
    assert "does not look like BindsNET's" in refused(net)[None].message


def test_names_and_types_that_do_not_fit() -> None:
    net = small()
    net.add_layer(nodes.IFNodes(2), "a:b")
    assert "':'" in refused(net)["a:b"].message
    net = Network(dt=1.0)
    net.add_layer(nodes.Input(2), "A")
    for name in ("B_to_C", "A_to_B", "C"):
        net.add_layer(nodes.IFNodes(2), name)
    connect(net, "A", "B_to_C", w=torch.eye(2))
    connect(net, "A_to_B", "C", w=torch.eye(2))
    assert "this name" in refused(net)["A_to_B_to_C"].message
    torch.set_default_dtype(torch.float64)
    try:
        net = small()
    finally:
        torch.set_default_dtype(torch.float32)
    found = refused(net)
    assert [found[name].code for name in ("X", "A")] == ["SNN807"] * 2
    assert "float64" in found["A"].message


def test_what_bindsnet_does_not_run() -> None:
    net = small()
    sparse = weights(RNG(0), 4, 3, 1.0, True)
    net.add_layer(nodes.LIFNodes(3), "B")
    connect(net, "X", "B", "SparseConnection", w=sparse, Dales_rule=torch.ones(4, 3).bool())
    assert "Dales_rule" in refused(net)[None].message


def test_saved_networks_are_not_loaded(tmp_path: Path) -> None:
    net = small()
    torch.save(net, tmp_path / "net.pt")  # as Network.save does
    torch.save(net, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    torch.save(net.state_dict(), tmp_path / "state.pt")
    for name in ("net.pt", "old.pt"):
        with pytest.raises(SnnirError, match="SNN107") as caught:
            snnir.load(tmp_path / name)
        assert "from_bindsnet" in str(caught.value)
    with pytest.raises(SnnirError, match="SNN101"):
        snnir.load(tmp_path / "state.pt")


def test_from_torch_hands_over() -> None:
    net = small()
    before = [p.clone() for p in net.parameters()]
    graph = snnir.from_torch(net, name="handed")
    assert (graph.name, list(graph.outputs), graph.dt) == ("handed", ["A"], 1e-3)
    assert all(torch.equal(one, two) for one, two in zip(before, net.parameters(), strict=True))
    with pytest.raises(SnnirError, match="takes no layout"):
        snnir.from_torch(net, layout="TB")
    x = spikes(RNG(0), 30, 2, (4,), 0.6)
    assert snnir.diff(net, graph, x).identical
    with pytest.raises(SnnirError, match="SNN601"):
        snnir.diff(net, graph, np.zeros((30, 2, 5), np.float32))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ("x", "no array of numbers"),
        (np.full((5, 1, 4), np.nan), "contains NaN"),
        (np.full((5, 1, 4), 0.5), "must be 0 or 1"),
        (np.zeros((0, 1, 4)), "no steps"),
        (np.zeros((5, 0, 4)), "no samples"),
        (np.zeros((5, 4)), r"must be \[T, B, 4\]"),
        ({"Q": np.zeros((5, 1, 4))}, "its inputs are X, got Q"),
    ],
)
def test_input_that_does_not_fit(x: Any, said: str) -> None:
    net = small()
    net.add_layer(nodes.SRM0Nodes(3), "S")
    connect(net, "A", "S", w=torch.eye(3))
    with pytest.raises(SnnirError, match=f"SNN601.*{said}"):
        snnir.bindsnet_draws(net, x)


def test_names_that_meet() -> None:
    """Layers may be called like connections and like the input of rewards."""
    net = Network(dt=1.0)
    net.add_layer(nodes.Input(5), "reward")
    net.add_layer(nodes.LIFNodes(4, thresh=-60.0), "A b")
    net.add_layer(nodes.LIFNodes(4, thresh=-60.0), "reward_to_A b")
    rule = {"update_rule": learning.MSTDP, "nu": 0.1, "wmax": 10.0}
    connect(net, "reward", "A b", w=weights(RNG(1), 5, 4, 4.0, False), **rule)
    connect(net, "A b", "reward_to_A b", w=8 * torch.eye(4))
    graph = snnir.from_bindsnet(net)
    x = {name: spikes(RNG(2), 60, 1, signal.shape, 0.5) for name, signal in graph.inputs.items()}
    assert list(x) == ["network.reward", "reward"]
    found = snnir.diff(net, graph, x)
    assert found.identical
    assert found.nodes[-1].spikes_a > 0


def test_a_layer_to_which_nothing_leads() -> None:
    net = small()
    net.add_layer(nodes.SRM0Nodes(2), "alone")
    graph = snnir.from_bindsnet(net)
    assert graph.inputs["alone.input"].shape == (2,)
    assert "alone" in graph.provenance.notes[0]


def test_subclasses_of_the_network_are_read() -> None:
    class Model(Network):
        """A network of the user's."""

    net = Model(dt=0.5)
    net.add_layer(nodes.Input(2), "X")
    net.add_layer(nodes.IFNodes(2), "A")
    connect(net, "X", "A", w=torch.eye(2))
    assert snnir.from_bindsnet(net).dt == 0.5e-3
    with pytest.raises(SnnirError, match="not a network of BindsNET"):
        snnir.from_bindsnet(net.layers["A"])
