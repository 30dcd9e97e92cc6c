"""The emulator against the equations tick by tick, against formulas, and itself in Python."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnir.targets.bss2.emulation.circuits import AnalogueChip, CLoop, Job, c_loop
from snnir.targets.bss2.emulation.conditions import Conditions
from snnir.targets.bss2.emulation.config_reader import config_of
from snnir.targets.bss2.emulation.emulator import Model
from snnir.targets.bss2.emulation.engine_python import decay, hashed_normal, response, run_python
from snnir.targets.bss2.emulation.variation import BadInput, cadc_normals
from tests.bss2.hand import TICK, Layer, Net, folder, plainly

IDEAL = Conditions(cadc="ideal")


def model(net: Net, compiled: bool = True) -> Model:
    return Model(config_of(folder(net)), compiled)


def events(net: Net, ticks: int, count: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    found = {}
    for name, size in net.inputs.items():
        table = np.stack([rng.integers(0, ticks, count), rng.integers(0, size, count)], 1)
        found[name] = table[np.argsort(table[:, 0], kind="stable")]
    return found


def emulated(net: Net, given: dict[str, Any], ticks: int, how: Conditions = IDEAL) -> Any:
    tick, _, names, index = model(net).run_events(
        {name: np.insert(table, 1, 0, axis=1) for name, table in given.items()}, ticks, how=how
    )
    return sorted(zip(tick.tolist(), names.tolist(), index.tolist(), strict=True))


def spread(rng: Any, low: float, high: float, size: int) -> list[float]:
    return rng.uniform(low, high, size).tolist()  # type: ignore[no-any-return]


def random_net(kind: str, seed: int) -> Net:
    rng = np.random.default_rng(seed)
    n = 12
    hidden = Layer(
        n, leak=spread(rng, 60, 90, n), reset=spread(rng, 50, 80, n),
        threshold=spread(rng, 95, 130, n), tau_mem=spread(rng, 1, 20, n),
        tau_exc=spread(rng, 0.5, 15, n), tau_inh=spread(rng, 0.5, 15, n),
        capacitance=rng.integers(30, 64, n).tolist(),
    )  # fmt: skip
    weights: dict[tuple[str, str], Any] = {
        ("x", "h"): rng.integers(-30, 64, (n, 8)),
        ("h", "o"): rng.integers(-30, 64, (4, n)),
    }
    if kind == "recurrent":
        weights["h", "h"] = rng.integers(-40, 40, (n, n))
    if kind == "refractory":
        hidden = replace(
            hidden, count=rng.integers(0, 200, n).tolist(), slow=[j % 2 == 0 for j in range(n)]
        )
        hidden.holdoff = [min(c, 15) if j % 3 else 0 for j, c in enumerate(hidden.of("count"))]
    if kind == "equal":
        hidden = replace(hidden, tau_exc=hidden.tau_mem, tau_inh=hidden.tau_mem)
    if kind == "nearly equal":
        tau = np.array(hidden.tau_mem)
        steps = np.logspace(-15, -1, n)
        hidden = replace(
            hidden, tau_exc=(tau * (1 + steps)).tolist(), tau_inh=(tau * (1 - steps)).tolist()
        )
    if kind == "driven":
        hidden = replace(hidden, leak=spread(rng, 90, 140, n))
    return Net({"x": 8}, {"h": hidden, "o": Layer(4, threshold=100.0)}, weights, latency=1 + seed)


KINDS = ("plain", "recurrent", "refractory", "equal", "nearly equal", "driven")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_spikes_are_those_of_the_equations(kind: str, seed: int) -> None:
    net, ticks = random_net(kind, seed), 4000
    given = events(net, ticks, 120, seed)
    expected, _ = plainly(net, given, ticks)
    assert len(expected) > 20
    assert emulated(net, given, ticks) == sorted(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_membranes_are_those_of_the_equations(kind: str) -> None:
    net, steps = random_net(kind, 7), 40
    x = np.random.default_rng(1).poisson(0.1, (steps, 2, 8))
    for step_ticks in (125.0, 77.3):
        own = replace(net, step_ticks=step_ticks)
        ends = np.ceil(np.arange(1, steps + 1) * step_ticks).astype(int)
        _, records, sums = model(own).run({"x": x}, ["h:v", "o:v", "h"], IDEAL)
        total = 0
        for sample in range(2):
            step, index = np.nonzero(x[:, sample])
            table = np.stack([np.floor(step * step_ticks + 0.5), index], 1)
            table = np.repeat(table, x[step, sample, index], axis=0)
            spikes, traces = plainly(own, {"x": table}, ends[-1])
            for name in ("h", "o"):
                got = records[f"{name}:v"][:, sample]
                np.testing.assert_allclose(got, traces[name][ends], rtol=1e-6)
            counts = np.zeros((steps, 12))
            for tick, name, j in spikes:
                if name == "h":
                    counts[int(tick // step_ticks), j] += 1
            assert (records["h"][:, sample] == counts).all()
            total += int(counts.sum())
        assert sums["h"] == total > 0


def test_a_postsynaptic_potential_peaks_where_it_should() -> None:
    layer = Layer(2, spiking=False, tau_mem=8.0, tau_exc=[3.0, 8.0], tau_inh=5.0, capacitance=42)
    net = Net({"x": 1}, {"o": layer}, {("x", "o"): [[60], [60]]}, step_ticks=1.0)
    x = np.zeros((4000, 1, 1))
    x[100] = 1
    v = model(net).run({"x": x}, how=IDEAL)[0]["out"][:, 0] - 80.0
    rise = 60 * net.gain * 63 / 42
    first = math.log(8 / 3) / (1 / 3 - 1 / 8)
    assert np.argmax(v, axis=0) + 1 == pytest.approx(
        [100 + first / TICK, 100 + 8 / TICK], abs=1
    )  # v[k] is at tick k + 1
    share = (math.exp(-first / 8) - math.exp(-first / 3)) / (1 / 3 - 1 / 8)
    assert v.max(axis=0) == pytest.approx([rise * share, rise * 8 / math.e], rel=1e-5)
    assert v[101, 0] == pytest.approx(rise * 2 * TICK, rel=5e-3)


@pytest.mark.parametrize(("count", "holdoff"), [(0, 0), (100, 0), (100, 15)])
def test_leak_over_threshold_spikes_regularly(count: int, holdoff: int) -> None:
    layer = Layer(1, leak=120.0, reset=60.0, threshold=100.0, count=count, holdoff=holdoff)
    net = Net({"x": 1}, {"o": layer}, {("x", "o"): [[1]]}, clocks=(3, 5))
    tick, *_ = model(net).run_events({}, 60000)
    rise = 6 * math.log((120 - 60) / (120 - 100)) / TICK
    expected = math.ceil((count - holdoff) * 8 + rise)
    # The first spike is in tick 0, since v starts at the leak.
    assert (tick == np.arange(len(tick)) * expected).all()
    assert len(tick) == 1 + 59999 // expected


def test_a_level_that_is_hardly_above_the_threshold_is_reached() -> None:
    layer = Layer(4, tau_mem=1.0, tau_exc=2000.0, threshold=[89.0, 89.8, 89.95, 90.1], count=255)
    net = Net({"x": 1}, {"o": layer}, {("x", "o"): [[50]] * 4})
    given = {"x": [[10, 0]]}
    expected, _ = plainly(net, given, 1200)
    assert [j for *_, j in expected] == [0, 1, 2]
    assert emulated(net, {"x": np.array([[10, 0]])}, 1200) == sorted(expected)


def test_no_spike_within_the_refractory_time_though_held_shorter() -> None:
    layer = Layer(1, leak=150.0, reset=90.0, threshold=100.0, count=200, holdoff=190)
    net = Net({"x": 1}, {"o": layer}, {("x", "o"): [[1]]}, clocks=(4, 5))
    tick, *_ = model(net).run_events({}, 20000)
    assert (np.diff(tick) == 200 * 16).all()


def test_latency_and_the_tick_of_an_event() -> None:
    layers = {
        "a": Layer(1, threshold=80.001, count=255),
        "b": Layer(1, threshold=80.001, count=255),
    }
    net = Net({"x": 1}, layers, {("x", "a"): [[63]], ("a", "b"): [[63]]}, latency=17)
    tick, _, names, _ = model(net).run_events({"x": [[1000, 0, 0]]}, 2000)
    assert list(zip(tick.tolist(), names.tolist(), strict=True)) == [(1001, "a"), (1019, "b")]


def test_constants_and_generators() -> None:
    weights = {("c", "h"): np.full((3, 1), 40)}
    layer = Layer(3, threshold=110.0)
    for background in (False, True):
        net = Net({"x": 1}, {"h": layer}, weights, constants={"c": (7.0, 150.0, background)})
        made = [[tick, 0] for tick in range(7, 6000, 150)]
        expected, _ = plainly(net, {"c": made}, 6000)
        assert emulated(net, {}, 6000) == sorted(expected)
        assert expected
    net = Net({"x": 1}, {"h": layer}, weights, constants={"c": (0.5, 150.4, False)})
    made = [[math.floor(0.5 + k * 150.4 + 0.5), 0] for k in range(39)]
    assert emulated(net, {}, 5800) == sorted(plainly(net, {"c": made}, 5800)[0])


# --- C and Python --------------------------------------------------------------------------------


def random_chip(rng: Any, units: int, noisy: bool) -> AnalogueChip:
    """A chip of random tables, unlike any network: whatever the two loops could differ in."""
    packets = units + 5
    legs = np.cumsum([0, *rng.integers(1, 4, packets)])
    entries = np.cumsum([0, *rng.integers(1, units, legs[-1])])
    tau = rng.uniform(50, 2000, (3, units))
    tau[1, ::3] = tau[0, ::3]
    tau[2, ::2] = tau[1, ::2]
    values = np.stack([
        rng.uniform(60, 125, units), rng.uniform(50, 80, units), rng.uniform(90, 130, units),
        *(1 / tau), *rng.uniform(0.0005, 0.003, (2, units)),
    ], 1)  # fmt: skip
    rest = rng.integers(0, 400, units)
    clocks = [rest // rng.integers(1, 3, units), rest, np.arange(units), rng.random(units) < 0.8]
    return AnalogueChip(
        values, np.stack(clocks, 1).astype(np.int64), legs, rng.integers(0, 2, legs[-1]), entries,
        rng.integers(0, units, entries[-1]), rng.uniform(0, 90, entries[-1]),
        rng.uniform(0, 40, entries[-1]), int(rng.integers(1, 20)),
        2.0 * noisy, 6.0 * noisy, int(rng.integers(0, 1 << 63)) * 2 + 1, noisy,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_compiled_and_python_give_the_same_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chip = random_chip(rng, 7, seed % 2 == 1)
    ticks = 6000
    job = Job(
        seed, ticks, np.sort(rng.integers(0, ticks // 20, 150)) * 20, 7 + rng.integers(0, 5, 150),
        np.unique([0, ticks, *rng.integers(0, ticks, 50)]), np.arange(7),
    )  # fmt: skip
    one, two = CLoop(c_loop(), chip).run(job), run_python(chip, job)
    assert len(one[0]) > 30
    for mine, other in zip(one[:3], two[:3], strict=True):
        assert mine.shape == other.shape
        assert mine.tobytes() == other.tobytes()
    assert one[3] == two[3] > 0


def test_whole_runs_are_the_same_without_a_compiler() -> None:
    net = random_net("recurrent", 3)
    x = np.random.default_rng(0).poisson(0.05, (30, 2, 8))
    for how in (
        Conditions(),
        Conditions("mismatch", 3, 5),
        Conditions("mismatch", 3, 5, serial=True),
    ):
        one, two = (
            model(net, compiled).run({"x": x}, ["h:v", "o"], how) for compiled in (True, False)
        )
        assert one[2] == two[2]
        assert sum(one[2].values()) > 0
        for name in one[1]:
            assert one[1][name].tobytes() == two[1][name].tobytes()


def test_room_for_spikes_grows() -> None:
    layer = Layer(20, leak=120.0, reset=99.0, threshold=100.0)
    net = Net({"x": 1}, {"o": layer}, {("x", "o"): np.ones((20, 1))})
    one, two = (model(net, compiled).run_events({}, 12000) for compiled in (True, False))
    assert len(one[0]) > 1 << 12
    assert all((a == b).all() for a, b in zip(one, two, strict=True))


def test_the_exponential_is_one() -> None:
    x = np.concatenate([np.linspace(0, 5, 999), np.linspace(5, 699, 999), [0, 1e-300, 1e-9]])
    got = np.array([decay(v) for v in x.tolist()])
    np.testing.assert_allclose(got, np.exp(-x), rtol=1e-14 * 60)
    assert decay(0.0) == 1.0
    assert decay(701.0) == decay(1e300) == 0.0


def test_the_response_is_smooth_where_time_constants_meet() -> None:
    mpmath = pytest.importorskip("mpmath")
    for rates in ((0.01, 0.01), (0.01, 0.0100000001), (0.01, 0.012), (0.012, 0.01), (0.5, 0.01)):
        for dt in (1, 30, 250, 251, 400, 3000):
            a, b = (mpmath.mpf(rate) for rate in rates)
            exact = mpmath.quad(
                lambda u, a=a, b=b, dt=dt: mpmath.exp(-a * (dt - u) - b * u), [0, dt]
            )
            got = response(dt, decay(rates[0] * dt), decay(rates[1] * dt), *rates)
            assert got == pytest.approx(float(exact), rel=1e-12)


def test_random_numbers_are_normal_and_the_same_everywhere() -> None:
    table = cadc_normals(5, 9, [3, 100, 511], 4000)
    assert table[17, 1] == hashed_normal(5, 9, 100, 17, 2)
    assert table[3999, 2] == hashed_normal(5, 9, 511, 3999, 2)
    assert abs(table.mean()) < 0.03
    assert table.std() == pytest.approx(1, abs=0.03)
    assert np.mean(np.abs(table) < 1) == pytest.approx(0.683, abs=0.02)
    assert abs(np.corrcoef(table.T)[0, 1]) < 0.05
    assert abs(np.corrcoef(table[1:, 0], table[:-1, 0])[0, 1]) < 0.05


# --- Inputs and limits ---------------------------------------------------------------------------


def test_inputs_that_are_none() -> None:
    own = model(random_net("plain", 0))
    for x in (np.full((3, 1, 8), 0.5), np.full((3, 1, 8), -1), np.full((3, 1, 8), np.nan)):
        with pytest.raises(BadInput, match="whole numbers"):
            own.run({"x": x})
    for shape in ((3, 8), (0, 1, 8), (3, 1, 7)):
        with pytest.raises(BadInput, match="must be"):
            own.run({"x": np.zeros(shape)})
    with pytest.raises(BadInput, match="not given"):
        own.run({})
    with pytest.raises(BadInput, match="cannot be recorded"):
        own.run({"x": np.zeros((3, 1, 8))}, ["x"])
    for bad in ([[0, 0, 8]], [[0, 1, 0]], [[100, 0, 0]], [[-1, 0, 0]], [[0.5, 0, 0]], [[0, 0]]):
        with pytest.raises(BadInput, match="event"):
            own.run_events({"x": bad}, 100)


def test_runs_longer_than_the_timer_are_refused() -> None:
    own = model(replace(random_net("plain", 0), step_ticks=2.0**31))
    x = np.zeros((2, 1, 8))
    with pytest.raises(BadInput, match=r"34\.36 s.*1 steps are possible"):
        own.run({"x": x})
    assert own.run({"x": x[:1]}, how=IDEAL)[2] == {"h": 0, "o": 0}
    with pytest.raises(BadInput, match=r"34\.36 s"):
        own.run_events({}, 2**32)


def test_the_link_carries_two_events_in_a_tick() -> None:
    net = Net({"x": 5}, {"h": Layer(5, threshold=80.01, count=255)}, {("x", "h"): 63 * np.eye(5)})
    given = {"x": [[100, 0, j] for j in range(5)]}
    own = model(net)
    plain = own.run_events(given, 400)
    assert own.stats["host_excess"] == 3
    assert plain[0].tolist() == [101] * 5
    late = own.run_events(given, 400, how=Conditions(serial=True))
    assert late[0].tolist() == [101, 101, 102, 102, 103]


def test_buses_take_two_events_in_a_tick() -> None:
    # Five channels on buses 0 to 3 of both hemispheres: channels 0 and 4 share theirs.
    net = Net({"x": 5}, {"h": Layer(5, threshold=80.01, count=255)}, {("x", "h"): 63 * np.eye(5)})
    given = {"x": [[100, 0, j] for j in (0, 4, 0, 4, 1)]}
    own = model(net)
    own.run_events(given, 400)
    assert (own.stats["bus_excess"], own.stats["bus_dropped"]) == (4, 0)
    how = Conditions(arbitrate=True)
    dropped = own.run_events(given, 400, how=how)
    assert (own.stats["bus_excess"], own.stats["bus_dropped"]) == (4, 4)
    assert sorted(dropped[3].tolist()) == [0, 1]  # both of channel 0 come first; 4 gets nothing
    assert own.run_events({"x": [[100, 0, 0], [101, 0, 4]]}, 400, how=how)[3].tolist() == [0, 4]


def test_the_converter() -> None:
    layer = Layer(4, spiking=False, leak=[-3.0, 80.4, 80.5, 300.0], factor=0.5, offset=10.0)
    net = Net({"x": 1}, {"o": layer}, {("x", "o"): np.zeros((4, 1))})
    own = model(net)
    x = np.zeros((20, 1, 1))
    v = own.run({"x": x})[0]["out"]
    assert (v == 10 + 0.5 * np.array([0, 80, 81, 255])).all()
    assert own.stats["cadc_saturated"] == 2 * (1 + int(20 // 1.7))
    assert own.run({"x": x}, how=IDEAL)[0]["out"][0, 0, 3] == 160


def test_the_converter_interpolates_between_samples() -> None:
    net = Net(
        {"x": 1}, {"o": Layer(1, spiking=False)}, {("x", "o"): [[60]]}, step_ticks=100.0
    )  # fmt: skip
    x = np.zeros((30, 1, 1))
    x[2] = 1
    _, traces = plainly(net, {"x": [[200, 0]]}, 3000)
    when = np.floor(np.arange(0, 3001, 212.5) + 0.5)
    samples = np.floor(traces["o"][when.astype(int), 0] + 0.5)
    expected = np.interp(np.arange(1, 31) * 100.0, when, samples)
    got = model(net).run({"x": x})[0]["out"][:, 0, 0]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert np.ptp(expected) > 5
    slow = model(net).run({"x": x}, how=Conditions(cadc_period=6.0))[0]["out"][:, 0, 0]
    assert len(np.unique(np.diff(slow).round(3))) < len(np.unique(np.diff(got).round(3)))


def test_executions_replay_what_was_recorded() -> None:
    net = random_net("plain", 2)
    facts = folder(net)
    (whole,) = facts["executions"]
    neurons = whole["neurons"]
    first = {**whole, "neurons": [n for n in neurons if n["population"] == "h"]}
    second = {**whole, "id": 1, "neurons": [n for n in neurons if n["population"] == "o"]}
    # The host replays h: by link 0, each label as the neuron's own, to the bus of its neuron.
    second["events"] = [
        {"population": "h", "index": n["index"],
         "labels": [n["address"] & 63 | (n["circuits"][0] // 32 % 4) << 11
                    | (n["circuits"][0] // 32 % 4) << 14]}
        for n in first["neurons"]
    ]  # fmt: skip
    split = Model(config_of({**facts, "executions": [first, second]}))
    given = {"x": np.insert(events(net, 4000, 120)["x"], 1, 0, axis=1)}
    one, two = model(net).run_events(given, 4000), split.run_events(given, 4000)
    # Replayed spikes reach their synapses when they would have on one chip.
    for name in ("h", "o"):
        assert one[0][one[2] == name].tolist() == two[0][two[2] == name].tolist()
        assert one[3][one[2] == name].tolist() == two[3][two[2] == name].tolist()
    assert np.sum(one[2] == "o") > 5


def test_the_host_sees_no_spikes_that_no_link_passes() -> None:
    net = random_net("plain", 2)
    facts = folder(net)
    nodes = facts["executions"][0]["crossbar"]
    facts["executions"][0]["crossbar"] = [n for n in nodes if n[:2] != [0, 8]]
    given = {"x": np.insert(events(net, 4000, 120)["x"], 1, 0, axis=1)}
    one, own = model(net).run_events(given, 4000), Model(config_of(facts))
    two = own.run_events(given, 4000)
    hidden = {(n["population"], n["index"]) for n in facts["executions"][0]["neurons"]
              if n["circuits"][0] % 256 // 32 == 0}  # fmt: skip
    seen = [(str(name), j) not in hidden for name, j in zip(one[2], one[3].tolist(), strict=True)]
    assert own.stats["unrecorded"] == len(seen) - sum(seen) > 0
    assert one[0][seen].tolist() == two[0].tolist()


def test_noise_of_executions_differs() -> None:
    layer = Layer(1, leak=140.0, reset=60.0, threshold=100.0)
    weights = {("x", "a"): [[1]], ("x", "b"): [[1]]}
    facts = folder(Net({"x": 1}, {"a": layer, "b": layer}, weights))
    (whole,) = facts["executions"]
    parts = [
        {**whole, "id": k, "neurons": [{**whole["neurons"][k], "circuits": [0]}]} for k in (0, 1)
    ]
    own = Model(config_of({**facts, "executions": parts}))
    tick, _, name, _ = own.run_events({}, 9000)
    assert tick[name == "a"].tolist() == tick[name == "b"].tolist()
    tick, _, name, _ = own.run_events({}, 9000, how=Conditions(noise_seed=1))
    assert tick[name == "a"].tolist() != tick[name == "b"].tolist()


def test_runs_repeat_and_samples_do_not_touch() -> None:
    net = random_net("recurrent", 5)
    x = np.random.default_rng(0).poisson(0.1, (30, 4, 8))
    own = model(net)
    one, two = own.run({"x": x}, ["h"], IDEAL), own.run({"x": x}, ["h"], IDEAL)
    assert (one[1]["h"] == two[1]["h"]).all()
    alone = own.run({"x": x[:, 2:3]}, ["h"], IDEAL)
    assert (alone[1]["h"][:, 0] == one[1]["h"][:, 2]).all()
