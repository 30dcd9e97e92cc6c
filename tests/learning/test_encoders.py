"""Encoders: the same in a graph, on every target and as arrays; frameworks' own in every bit."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import snnir
from snnir.ir import Current, Graph, Input, Node, Signal, Value
from snnir.streams import Kind
from tests.helpers import ROOT

Array = npt.NDArray[Any]

STEPS, WINDOW, SHAPE = 45, 20, (2, 3, 2)

#: Options of `snnir.encode` for every kind, and for every way of some.
ENCODERS: dict[str, dict[str, Any]] = {
    "poisson": {"rate": 300.0, "seed": 4},
    "bernoulli": {"seed": 1 << 40},
    "normal": {"kind": "bernoulli", "normalize": True, "seed": 9},
    "rank": {"kind": "rank-order", "time": WINDOW},
    "latency": {"time": WINDOW},
    "charging": {
        "kind": "latency", "code": "charging", "time": WINDOW, "tau": 4.0, "threshold": 0.2
    },
    "delta": {"threshold": 0.3},
    "padded": {"kind": "delta", "padding": True},
    "repeat": {},
}  # fmt: skip


def samples(batch: int = 3, top: float = 1.0, seed: int = 0) -> Array:
    """Return numbers from 0 to `top`, a fifth of them 0."""
    rng = np.random.default_rng(seed)
    x = rng.random((batch, *SHAPE), dtype=np.float32) * np.float32(top)
    return np.where(rng.random(x.shape) < 0.2, np.float32(0), x)


def signal(batch: int = 3) -> Array:
    return np.random.default_rng(5).random((STEPS, batch, *SHAPE), dtype=np.float32)


def data_of(name: str) -> Array:
    if name in ("delta", "padded"):
        return signal()
    return samples(top=3.0 if name == "normal" else 1.0)


def encoded(name: str) -> Array:
    """Return what `snnir.encode` gives."""
    options = dict(ENCODERS[name])
    kind = options.pop("kind", name)
    steps = None if kind == "delta" else STEPS
    return snnir.encode(kind, data_of(name), steps, **options)


def pass_text(name: str, **more: Any) -> str:
    settings = {"kind": name, **ENCODERS[name], **more}
    shown = [f"{key}={str(value).lower()}" for key, value in settings.items()]
    return f"encode{{{','.join(shown)}}}"


def graph_of_all() -> Graph:
    """Return a graph with one input of spikes per encoder, which is encoded."""
    nodes = {name: Node(name, Input(Signal(Kind.SPIKES, SHAPE))) for name in ENCODERS}
    graph = Graph(nodes, {f"y.{name}": Value(name) for name in ENCODERS}, dt=1e-3)
    return graph.apply(",".join(pass_text(name, input=name) for name in ENCODERS)).verify()


def held(name: str) -> Array:
    data = data_of(name)
    return data if len(data) == STEPS else np.repeat(data[None], STEPS, axis=0)


@pytest.mark.parametrize("target", ["numpy", "torch", "native", "xla"])
def test_every_target_gives_what_encode_gives(target: str) -> None:
    if target in ("torch", "xla"):
        pytest.importorskip("torch" if target == "torch" else "jax")
    try:
        options: dict[str, Any] = {"backend": "eager"} if target == "torch" else {}
        network = snnir.compile(graph_of_all(), target=target, **options)
        found = network.run({name: held(name) for name in ENCODERS}).outputs
    except snnir.SnnirError as failure:
        if "random numbers" not in str(failure) and "compiler" not in str(failure):
            raise
        pytest.skip(str(failure))
    for name in ENCODERS:
        assert np.array_equal(found[f"y.{name}"], encoded(name)), name


def test_every_encoder_gives_spikes() -> None:
    for name in ENCODERS:
        spikes = encoded(name)
        assert spikes.shape == (STEPS, 3, *SHAPE)
        assert spikes.dtype == np.float32
        assert name == "repeat" or set(np.unique(spikes)) == {0.0, 1.0}


def test_draws_are_as_likely_as_they_should_be() -> None:
    x = np.repeat(np.asarray([[0, 0.1, 0.5, 1, 3]], np.float32), 400, axis=0)
    rate = snnir.encode("poisson", x, 10, rate=500.0, dt=1e-3).mean((0, 1))
    assert rate == pytest.approx([0, 0.05, 0.25, 0.5, 1], abs=0.03)
    rate = snnir.encode("bernoulli", x, 10, normalize=True).mean((0, 1))
    assert rate == pytest.approx([0, 0.1 / 3, 0.5 / 3, 1 / 3, 1], abs=0.03)
    assert rate[-1] == 1


def test_a_sample_does_not_depend_on_others() -> None:
    x = samples(4)
    together = snnir.encode("bernoulli", x, STEPS, seed=3)
    assert np.array_equal(snnir.encode("bernoulli", x[:2], STEPS, seed=3), together[:, :2])
    assert not np.array_equal(snnir.encode("bernoulli", x, STEPS, seed=4), together)


def test_a_run_in_pieces_draws_on() -> None:
    nodes = {"x": Node("x", Input(Signal(Kind.SPIKES, SHAPE)))}
    graph = Graph(nodes, {"y": Value("x")}, dt=1e-3).apply("encode{kind=bernoulli,seed=3}")
    network, x = snnir.compile(graph, target="numpy"), np.repeat(samples()[None], STEPS, axis=0)
    first = network.run(x[:20])
    second = network.run(x[20:], lasting=first.lasting)
    whole = snnir.encode("bernoulli", samples(), STEPS, seed=3)
    assert np.array_equal(np.concatenate([first.output, second.output]), whole)


def test_an_analog_input_stays_analog_for_what_took_it() -> None:
    nodes = {"x": Node("x", Input(Signal(Kind.ANALOG, SHAPE)))}
    graph = Graph(nodes, {"y": Value("x")}, dt=1e-3).apply("encode{kind=bernoulli}").verify()
    value = graph.outputs["y"]
    assert graph.signals[value].kind is Kind.ANALOG
    assert isinstance(graph[value.node].op, Current)


def bindsnet_function(name: str) -> Callable[..., Any]:
    """Return a function of BindsNET's module of encodings, which needs torch alone."""
    pytest.importorskip("torch")
    package = importlib.util.find_spec("bindsnet")
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs bindsnet")
    path = Path(next(iter(package.submodule_search_locations))) / "encoding" / "encodings.py"
    spec = importlib.util.spec_from_file_location("bindsnet_encodings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)  # type: ignore[no-any-return]


def by_sample(function: Callable[..., Any], x: Array, *given: Any, **options: Any) -> Array:
    """Return what BindsNET gives for one sample after the other."""
    import torch

    found = [function(torch.tensor(sample), *given, **options) for sample in x]
    return np.asarray(torch.stack(found, 1).numpy(), np.float32)


class TestBesideBindsnet:
    @pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
    @pytest.mark.parametrize(
        ("kind", "top", "options"),
        [
            ("poisson", 150.0, {}),
            ("poisson", 150.0, {"approx": True}),
            ("bernoulli", 1.0, {"max_prob": 0.3}),
            ("bernoulli", 5.0, {}),
            ("rank_order", 7.0, {}),
            ("single", 1.0, {"sparsity": 0.3}),
            ("repeat", 1.0, {}),
        ],
    )
    def test_given_the_state(self, kind: str, top: float, options: dict[str, Any]) -> None:
        function, x = bindsnet_function(kind), samples(top=top)
        import torch

        torch.manual_seed(11)
        state = torch.get_rng_state()
        theirs = by_sample(function, x, STEPS, **options)
        after = torch.get_rng_state()
        for given in (11, state, state.numpy(), torch.Generator().manual_seed(11)):
            ours = snnir.encode(kind, x, STEPS, like="bindsnet", state=given, **options)
            assert np.array_equal(ours, theirs)
        torch.set_rng_state(state)
        assert np.array_equal(snnir.encode(kind, x, STEPS, like="bindsnet", **options), theirs)
        assert torch.equal(torch.get_rng_state(), after)

    def test_dt_is_in_milliseconds_there(self) -> None:
        function, x = bindsnet_function("poisson"), samples(top=300.0)
        import torch

        torch.manual_seed(2)
        theirs = by_sample(function, x, 20, dt=0.5)
        ours = snnir.encode("poisson", x, 40, dt=0.5e-3, like="bindsnet", state=2)
        assert np.array_equal(ours, theirs)

    def test_rank_order_of_a_graph(self) -> None:
        theirs = by_sample(bindsnet_function("rank_order"), samples(), WINDOW)
        ours = encoded("rank")
        assert np.array_equal(ours[:WINDOW], theirs)
        assert np.array_equal(ours[WINDOW : 2 * WINDOW], theirs)


def test_nothing_in_rank_order_is_silence() -> None:
    nothing = np.zeros((2, 3), np.float32)
    assert snnir.encode("rank-order", nothing, 9).sum() == 0
    pytest.importorskip("torch")
    assert snnir.encode("rank_order", nothing, 9, like="bindsnet").sum() == 0


class TestBesideSnntorch:
    @pytest.fixture
    def spikegen(self) -> Any:
        pytest.importorskip("snntorch")
        return importlib.import_module("snntorch.spikegen")

    @pytest.mark.parametrize("options", [{}, {"gain": 0.5, "offset": 0.1, "first_spike_time": 3}])
    def test_rate(self, spikegen: Any, options: dict[str, Any]) -> None:
        import torch

        torch.manual_seed(3)
        theirs = spikegen.rate(torch.tensor(samples()), STEPS, **options)
        ours = snnir.encode("rate", samples(), STEPS, like="snntorch", state=3, **options)
        assert np.array_equal(ours, theirs.numpy())

    @pytest.mark.parametrize(
        "options",
        [
            {"bypass": True},
            {"normalize": True},
            {"normalize": True, "linear": True, "threshold": 0.2},
            {"tau": 3.0, "linear": True, "first_spike_time": 2},
            {"tau": 5.0, "threshold": 0.2, "bypass": True, "clip": True},
        ],
    )
    def test_latency(self, spikegen: Any, options: dict[str, Any]) -> None:
        import torch

        theirs = spikegen.latency(torch.tensor(samples()), STEPS, **options)
        ours = snnir.encode("latency", samples(), STEPS, like="snntorch", **options)
        assert np.array_equal(ours, theirs.numpy())

    def test_charging_of_a_graph(self, spikegen: Any) -> None:
        import torch

        x = samples(batch=200)
        options: dict[str, Any] = {"tau": 4.0, "threshold": 0.2}
        theirs = spikegen.latency(torch.tensor(x), WINDOW, clip=True, bypass=True, **options)
        ours = snnir.encode("latency", x, WINDOW, code="charging", **options)
        assert np.array_equal(ours, theirs.numpy())

    @pytest.mark.parametrize("options", [{}, {"padding": True}, {"off_spike": True}])
    def test_delta(self, spikegen: Any, options: dict[str, Any]) -> None:
        import torch

        theirs = spikegen.delta(torch.tensor(signal()), 0.25, **options).numpy()
        ours = snnir.encode("delta", signal(), like="snntorch", threshold=0.25, **options)
        assert np.array_equal(ours, theirs)
        if "off_spike" not in options:
            assert np.array_equal(
                snnir.encode("delta", signal(), threshold=0.25, **options), theirs
            )


class TestBesideSpikingjelly:
    @pytest.fixture
    def encoding(self) -> Any:
        pytest.importorskip("spikingjelly")
        return importlib.import_module("spikingjelly.activation_based.encoding")

    def stepped(self, encoder: Any, x: Array, steps: int) -> Array:
        import torch

        return np.asarray(torch.stack([encoder(torch.tensor(x)) for _ in range(steps)]).numpy())

    def test_poisson(self, encoding: Any) -> None:
        import torch

        torch.manual_seed(3)
        theirs = self.stepped(encoding.PoissonEncoder(), samples(), STEPS)
        ours = snnir.encode("poisson", samples(), STEPS, like="spikingjelly", state=3)
        assert np.array_equal(ours, theirs)

    @pytest.mark.parametrize("function", ["linear", "log"])
    def test_latency(self, encoding: Any, function: str) -> None:
        theirs = self.stepped(encoding.LatencyEncoder(WINDOW, function), samples(), WINDOW)
        options: dict[str, Any] = {"like": "spikingjelly", "enc_function": function}
        assert np.array_equal(snnir.encode("latency", samples(), WINDOW, **options), theirs)

    def test_latency_of_a_graph_in_windows(self, encoding: Any) -> None:
        theirs = self.stepped(encoding.LatencyEncoder(WINDOW), samples(), STEPS)
        assert np.array_equal(encoded("latency"), theirs)

    def test_phase(self, encoding: Any) -> None:
        theirs = self.stepped(encoding.WeightedPhaseEncoder(8), samples(top=0.99), 8)
        assert np.array_equal(
            snnir.encode("phase", samples(top=0.99), 8, like="spikingjelly"), theirs
        )


@pytest.mark.parametrize(
    ("kind", "data", "options", "message"),
    [
        ("poisson", [[-1.0]], {}, "SNN601.*numbers from 0, got -1"),
        ("poisson", [[np.nan]], {}, "SNN601.*NaN or infinity"),
        ("poisson", [["one"]], {}, "SNN601.*array of numbers"),
        ("poisson", [[1.0], [1.0, 2.0]], {}, "SNN601.*array of numbers"),
        ("poisson", np.ones((0, 2)), {}, "SNN601.*is empty"),
        ("poisson", 1.0, {}, r"SNN601.*\[batch, \*shape\]"),
        ("poisson", [[1.0]], {"steps": None}, "SNN601.*number of steps"),
        ("poisson", [[1.0]], {"steps": 1 << 40}, "SNN601.*more than"),
        ("poisson", [[1.0]], {"dt": 0.0}, "SNN401.*dt is 0.0"),
        ("poisson", [[1.0]], {"rate": "fast"}, "SNN401.*rate is 'fast', must be a number"),
        ("poisson", [[1.0]], {"rate": -1.0}, "SNN401.*rate is -1.0, must be positive"),
        ("poisson", [[1.0]], {"seed": -1}, "SNN401.*seed is -1"),
        ("poisson", [[1.0]], {"speed": 1}, "SNN401.*no option speed"),
        ("poisson", [[1.0]], {"state": 1}, "SNN401.*give a seed"),
        ("gauss", [[1.0]], {}, "SNN401.*kind is 'gauss'"),
        ("bernoulli", [[2.0]], {}, "SNN601.*from 0 to 1, got 2"),
        ("latency", [[2.0]], {}, "SNN601.*from 0 to 1, got 2"),
        ("latency", [[1.0]], {"code": "late"}, "SNN401.*code is 'late'"),
        ("latency", [[1.0]], {"steps": 1}, "SNN401.*time is 1"),
        ("delta", [1.0], {}, "SNN601.*encodes a signal"),
    ],
)
def test_refused(kind: str, data: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(snnir.SnnirError, match=message):
        snnir.encode(kind, data, **{"steps": 5, **options})


@pytest.mark.parametrize(
    ("kind", "data", "options", "message"),
    [
        ("poisson", [[1.0]], {"like": "brian"}, "SNN401.*like is 'brian'"),
        ("latency", [[1.0]], {"like": "bindsnet"}, "SNN401.*has no 'latency'"),
        ("poisson", [[1.0]], {"like": "bindsnet", "max_prob": 1.0}, "SNN401.*no option max_prob"),
        ("poisson", [[1.0]], {"like": "bindsnet", "approx": 3}, "SNN401.*true or false"),
        ("poisson", [[1.0]], {"like": "bindsnet", "state": "x"}, "SNN601.*must be a seed"),
        ("poisson", [[1.0]], {"like": "bindsnet", "state": -(1 << 70)}, "SNN601.*must be a seed"),
        ("poisson", [[1.0]], {"like": "bindsnet", "state": [1, 2]}, "SNN601.*must be a seed"),
        ("poisson", [[-1.0]], {"like": "bindsnet"}, "SNN601.*numbers from 0"),
        ("bernoulli", [[1.0]], {"like": "bindsnet", "max_prob": 2.0}, "SNN401.*from 0 to 1"),
        ("single", [[1.0]], {"like": "bindsnet", "sparsity": 2.0}, "SNN401.*from 0 to 1"),
        ("rate", [[1.0]], {"like": "snntorch", "gain": np.nan}, "SNN401.*gain is nan"),
        ("rate", [[1.0]], {"like": "snntorch", "first_spike_time": 9}, "SNN401.*from 0 to 4"),
        ("latency", [[0.02]], {"like": "snntorch", "tau": 9.0}, "SNN601.*needs 7 steps"),
        ("latency", [[2.0]], {"like": "snntorch"}, "SNN601.*from 0 to 1"),
        ("latency", [[1.0]], {"like": "snntorch", "threshold": 1.0}, "SNN401.*0 < threshold < 1"),
        ("delta", [1.0], {"like": "snntorch"}, "SNN601.*an axis for samples"),
        (
            "latency",
            [[1.0]],
            {"like": "spikingjelly", "enc_function": "x"},
            "SNN401.*must be linear",
        ),
        ("phase", [[1.0]], {"like": "spikingjelly"}, "SNN601.*up to 0.96875"),
    ],
)
def test_frameworks_refuse(kind: str, data: Any, options: dict[str, Any], message: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(snnir.SnnirError, match=message):
        snnir.encode(kind, data, **{"steps": 5, **options})


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("encode{kind=gauss}", "SNN401.*option kind is 'gauss'"),
        ("encode{kind=latency}", "SNN401.*latency needs from 2"),
        ("encode{kind=bernoulli}", "SNN401.*must name one of the inputs, which are a, b"),
        ("encode{kind=bernoulli,input=c}", "SNN401.*no input 'c'; inputs: a, b"),
        ("encode{input=a}", "SNN303.*needs a graph with a time step"),
    ],
)
def test_the_pass_refuses(pipeline: str, message: str) -> None:
    nodes = {name: Node(name, Input(Signal(Kind.SPIKES, (2,)))) for name in ("a", "b")}
    graph = Graph(nodes, {"y": Value("a"), "z": Value("b")})
    with pytest.raises(snnir.SnnirError, match=message):
        graph.apply(pipeline)


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        np.save("data.npy", samples())
        np.savez("two.npz", a=samples(), b=samples())
        np.save("low.npy", -samples())

    def run(self, line: str, capsys: pytest.CaptureFixture[str]) -> str:
        from snnir.cli import main

        with pytest.raises(SystemExit) as ended:
            main(["encode", *line.split()])
        out, err = capsys.readouterr()
        assert (ended.value.code == 0) == (not err)
        assert err.count("\n") <= 1
        return out + err

    def test_written(self, capsys: pytest.CaptureFixture[str]) -> None:
        wanted = snnir.encode("poisson", samples(), 30, rate=200.0, seed=5)
        line = "data.npy --kind poisson --steps 30 --seed 5 --set rate=200.0 -o"
        assert "[30, 3, 2, 3, 2]" in self.run(f"{line} x.npy", capsys)
        self.run(f"{line} x.npz --name file", capsys)
        assert np.array_equal(np.load("x.npy"), wanted)
        with np.load("x.npz") as found:
            assert np.array_equal(found["file"], wanted)

    def test_like(self, capsys: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("torch")
        self.run("data.npy --kind phase --steps 9 --like spikingjelly -o x.npy", capsys)
        wanted = snnir.encode("phase", samples(), 9, like="spikingjelly")
        assert np.array_equal(np.load("x.npy"), wanted)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("low.npy --kind poisson --steps 3 -o x.npy", "SNN601.*numbers from 0"),
            ("none.npy --kind poisson --steps 3 -o x.npy", "SNN601.*cannot be read"),
            ("two.npz --kind poisson --steps 3 -o x.npy", "SNN701.*one array, has a, b"),
            ("data.npy --kind gauss --steps 3 -o x.npy", "SNN401.*kind is 'gauss'"),
            ("data.npy --kind poisson --steps 3 -o x.txt", "SNN701.*must end in"),
            ("data.npy --kind poisson --steps 3 -o x.npy --set rate", "SNN701.*KEY=VALUE"),
            ("data.npy --kind poisson --steps 3 -o x.npy --set kind=x", "SNN701.*cannot give kind"),
            ("data.npy --kind poisson --steps 3 -o x.npy --dt nan", "SNN401.*dt is nan"),
        ],
    )
    def test_refused(self, line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert re.search(message, self.run(line, capsys))


def test_the_page_runs() -> None:
    pytest.importorskip("torch")
    page = (ROOT / "docs" / "encoders.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    known: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "encoders.md", "exec"), known)
    assert known["spikes"].shape == (50, 1, 4)
