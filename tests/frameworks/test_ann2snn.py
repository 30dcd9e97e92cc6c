"""Converted networks beside the frameworks' own converters."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
from torch import nn

import snnir
from snnir.ir import Graph, Step
from snnir.passes.ann2snn import is_relu

STEPS = 30


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.ReLU(),
        nn.Linear(5, 3),
    ).eval()  # fmt: skip


def with_maxima() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.ReLU(),
        nn.Linear(5, 3),
    ).eval()  # fmt: skip


def pictures(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((count, 2, 8, 8)).astype(np.float32)


def graph(net: nn.Module | None = None) -> Graph:
    return snnir.from_torch(net or network(), (2, 8, 8))


def converted(options: str, x: Any, tmp_path: Path, net: nn.Module | None = None) -> Graph:
    """Return the converted graph; x is [batches, B, *shape]."""
    np.save(tmp_path / "x.npy", x)
    return graph(net).apply(f'ann2snn{{{options},calibrate="{tmp_path / "x.npy"}"}}')


def spikes_of(made: Graph, x: Any) -> list[Any]:
    names = list(snnir.populations(made))
    repeated = np.repeat(x[None], STEPS, axis=0)
    run = snnir.compile(made, level=0, precision="float32").run(repeated, names)
    return [*(run.recorded[name] for name in names), run.output]


SPIKINGJELLY: dict[str, dict[str, Any]] = {
    "mode=max": {"mode": "max"},
    "mode=percentile,percentile=99": {"mode": "99%"},
    "mode=factor,factor=0.7": {"mode": 0.7},
    "mode=max,channel-wise": {"mode": "max", "channel_wise": True},
    "mode=percentile,percentile=99,channel-wise,half-threshold": {
        "mode": "99%", "channel_wise": True, "half_threshold": True,
    },
    "mode=max,channel-wise,pool-first": {
        "mode": "max", "channel_wise": True, "pre_spike_maxpool": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("build", [network, with_maxima])
@pytest.mark.parametrize("options", SPIKINGJELLY)
def test_scales_and_spikes_are_those_of_spikingjelly(
    options: str, build: Any, batches: int, tmp_path: Path
) -> None:
    pytest.importorskip("spikingjelly", reason="needs spikingjelly")
    from spikingjelly.activation_based import ann2snn, neuron

    calibration = pictures(20 * batches).reshape(batches, 20, 2, 8, 8)
    made = converted(options, calibration, tmp_path, build())
    loader = [torch.from_numpy(batch) for batch in calibration]
    recipe = ann2snn.RateCodingRecipe(dataloader=loader, **SPIKINGJELLY[options])
    theirs = ann2snn.Converter(recipe).convert(build())
    scales = [
        np.atleast_1d(np.asarray(m.scale.detach()))
        for name, m in theirs.named_modules()
        if name.endswith("scaler1")
    ]
    ours = [
        n.op.tensors()["scale"].numpy().reshape(-1)
        for n in made.nodes.values()
        if n.name.endswith(".scale")
    ]
    assert len(ours) == len(scales) == 3
    for one, two in zip(ours, scales, strict=True):
        np.testing.assert_allclose(one, two.reshape(-1), rtol=2e-6, atol=1e-8)
    traces: dict[str, list[Any]] = {}
    for name, module in theirs.named_modules():
        if isinstance(module, neuron.BaseNode):
            module.register_forward_hook(
                lambda m, given, y, name=name: traces.setdefault(name, []).append(y)
            )
    x = pictures(4, 9)
    with torch.no_grad():
        outputs = torch.stack([theirs(torch.from_numpy(x)) for _ in range(STEPS)]).numpy()
    found = spikes_of(made, x)
    output = found.pop()
    for one, theirs_now in zip(found, traces.values(), strict=True):
        np.testing.assert_array_equal(one, torch.stack(theirs_now).detach().numpy())
    np.testing.assert_allclose(output, outputs, rtol=1e-4, atol=1e-5)


def test_a_rectifier_that_others_read_too_keeps_its_place(tmp_path: Path) -> None:
    """Swapped with the maximum, it would give the other reader fewer neurons."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = with_maxima()[:2]
            self.pool, self.one, self.two = nn.MaxPool2d(2), nn.Linear(96, 3), nn.Linear(384, 3)

        def forward(self, x: Any) -> Any:
            h = self.first(x)
            return self.one(self.pool(h).flatten(1)) + self.two(h.flatten(1))

    made = converted("mode=max,pool-first", pictures(20)[None], tmp_path, Both().eval())
    (neurons,) = snnir.populations(made).values()
    assert neurons == 6 * 8 * 8
    assert spikes_of(made, pictures(4, 9))[0].any()


def test_weights_and_spikes_are_those_of_sinabs(tmp_path: Path) -> None:
    pytest.importorskip("sinabs", reason="needs sinabs")
    from sinabs.from_torch import from_model
    from sinabs.utils import normalize_weights

    calibration = pictures(40)
    made = converted("mode=sinabs", calibration[None], tmp_path)
    net = network()
    normalize_weights(net, torch.from_numpy(calibration), ["1", "4", "7"], ["0", "3", "6"])
    for name in ("0", "3", "6", "8"):
        weight = made[name].op.tensors()["weight"].numpy()
        np.testing.assert_allclose(weight, net[int(name)].weight.detach().numpy(), rtol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = from_model(net, input_shape=(2, 8, 8), batch_size=4).spiking_model
    read = snnir.from_torch(theirs, (2, 8, 8), layout="B*T")
    rules = [
        n.op.dynamics for g in (made, read) for n in g.nodes.values() if isinstance(n.op, Step)
    ]
    assert len(rules) == 6
    assert len({str(rule) for rule in rules}) == 1
    x = pictures(4, 9)
    for one, two in zip(spikes_of(made, x), spikes_of(read, x), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def error(made: Graph, x: Any, steps: int) -> float:
    """Return the mean squared error of the answers after some steps."""
    with torch.no_grad():
        wanted = network()(torch.from_numpy(x)).numpy()
    repeated = np.repeat(x[None], steps, axis=0)
    found = np.asarray(snnir.compile(made).run(repeated).output).mean(0)
    return float(((found - wanted) ** 2).mean())


@pytest.mark.parametrize("steps", [4, 8, 16, 32])
def test_calibrated_thresholds_err_least(steps: int, tmp_path: Path) -> None:
    calibration, x = pictures(60), pictures(60, 5)
    ours = error(converted(f"steps={steps}", calibration[None], tmp_path), x, steps)
    for options in SPIKINGJELLY:
        assert ours < error(converted(options, calibration[None], tmp_path), x, steps), options


def test_neurons_keep_the_names_of_rectifiers(tmp_path: Path) -> None:
    before = graph()
    assert [name for name in before.order if is_relu(before[name])] == ["1", "4", "7"]
    made = converted("mode=max", pictures(9)[None], tmp_path)
    assert list(snnir.populations(made)) == ["1", "4", "7"]
    fused = made.apply("fuse-linear,remove-identity,dead-code")
    assert not [n for n in fused.nodes.values() if n.op.name == "scale"]
    x = pictures(3, 4)
    for one, two in zip(spikes_of(made, x)[:-1], spikes_of(fused, x)[:-1], strict=True):
        assert (one != two).mean() < 0.01


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures(3)[None])
    cases = {
        "mode=best": "use calibrated, max, percentile, factor, sinabs",
        "mode=percentile,percentile=0": "option percentile is 0",
        "factor=2": "option factor is 2",
        "momentum=-1": "option momentum is -1",
        "steps=0": "option steps is 0",
        "mode=max": "needs calibration inputs",
        'calibrate="none.npy"': "cannot be read",
    }
    for options, words in cases.items():
        with pytest.raises(snnir.SnnirError, match=words):
            graph().apply(f"ann2snn{{{options}}}")
    np.save(tmp_path / "bad.npy", np.zeros((1, 3, 2, 7, 8), np.float32))
    with pytest.raises(snnir.SnnirError, match=r"must be \[T, B, 2, 8, 8\]"):
        graph().apply(f'ann2snn{{calibrate="{tmp_path / "bad.npy"}"}}')
    editor = graph().edit()
    silent = snnir.Tensor(np.full((6,), -100.0, np.float32))
    op = editor.nodes["0"].op
    editor.set_op("0", type(op)(op.tensors()["weight"], silent, padding=((1, 1), (1, 1))))  # type: ignore[call-arg]
    for mode in ("max", "calibrated", "sinabs"):
        with pytest.raises(snnir.SnnirError, match="node '1': is never active"):
            editor.graph().apply(f'ann2snn{{mode={mode},calibrate="{tmp_path / "x.npy"}"}}')


def test_a_network_without_rectifiers_stays() -> None:
    plain = snnir.from_torch(nn.Sequential(nn.Linear(3, 2)), (3,))
    assert plain.apply("ann2snn") is plain
