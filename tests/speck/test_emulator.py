"""The emulator from both forms, compiled and in Python, against the rule written out plainly."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnir.targets.speck.chip_reader import BadFolder, chip_of_config, chip_of_words
from snnir.targets.speck.chips import CHIPS
from snnir.targets.speck.configuration import config_text
from snnir.targets.speck.core import CoreLayer, Destination, Geometry, Network, Sensor, Shape
from snnir.targets.speck.emulator import Emulator, listed, routed
from snnir.targets.speck.memory import words
from tests.speck.nets import branching, network
from tests.speck.reference import PlainChip

STEPS = 3


def first(net: Network) -> int:
    """Return the core that no other feeds."""
    fed = {d.layer for layer in net.cores.values() for d in layer.destinations}
    (core,) = set(net.cores) - fed
    return core


def inputs(net: Network, seed: int) -> Any:
    source = net.cores[first(net)].geometry.source
    shape = STEPS, source.channels, source.height, source.width
    return np.random.default_rng(seed).poisson(min(1.0, 100 / np.prod(shape)), shape)


def plainly(net: Network, counts: Any, ticks: list[int]) -> Counter[tuple[int, ...]]:
    """Return spikes by step, core, channel, y, x."""
    chip, found = PlainChip(net), Counter[tuple[int, ...]]()
    for step in range(STEPS):
        chip.spikes.clear()
        for _ in range(ticks[step]):
            chip.tick()
        for y, x, c in np.argwhere(counts[step].transpose(1, 2, 0)).tolist():
            for _ in range(int(counts[step, c, y, x])):
                chip.send(first(net), c, y, x)
        found.update({(step, *place): n for place, n in chip.spikes.items()})
    return found


def emulated(net: Network, counts: Any, ticks: list[int], form: str, compiled: bool) -> Any:
    if form == "config":
        cores, sensor = chip_of_config(config_text(net))
    else:
        cores, sensor = chip_of_words(words(net))
    chip = Emulator(cores, sensor, compiled)
    events = routed(listed(counts), [(first(net), 1, 0)], counts.shape[2:])
    spikes, sums = chip.run(events, STEPS, ticks=np.array(ticks), record=sorted(net.cores))
    assert {n: int(array.sum()) for n, array in spikes.items()} == {n: sums[n] for n in net.cores}
    return Counter(
        {
            (int(place[0]), core, *map(int, place[1:])): int(array[tuple(place)])
            for core, array in spikes.items()
            for place in np.argwhere(array)
        }
    )


@given(
    st.integers(0, 10_000), st.sampled_from([network, branching]),
    st.lists(st.integers(0, 2), min_size=STEPS, max_size=STEPS),
)  # fmt: skip
def test_both_forms_follow_the_rule(seed: int, make: Any, ticks: list[int]) -> None:
    net = make(seed)
    counts = inputs(net, seed)
    expected = plainly(net, counts, ticks)
    assert emulated(net, counts, ticks, "config", compiled=True) == expected
    assert emulated(net, counts, ticks, "memory", compiled=True) == expected
    assert emulated(net, counts, ticks, "config", compiled=False) == expected


def test_networks_of_the_tests_spike() -> None:
    spikes = [
        sum(plainly(net, inputs(net, 0), [1] * STEPS).values()) for net in map(network, range(9))
    ]
    assert sum(count > 50 for count in spikes) >= 6


@given(st.integers(0, 10_000))
def test_the_reverse_order_is_the_same_in_both_engines(seed: int) -> None:
    net = branching(seed)
    counts = inputs(net, seed)
    events = routed(listed(counts), [(first(net), 1, 0)], counts.shape[2:])
    found = []
    for compiled in (True, False):
        chip = Emulator(*chip_of_config(config_text(net)), compiled)
        chip.reverse = True
        found.append(chip.run(events, STEPS, record=[5])[0][5])
    assert np.array_equal(*found)


def test_a_run_can_be_cut_in_two() -> None:
    net = network(3)
    counts = inputs(net, 3)
    events = routed(listed(counts), [(first(net), 1, 0)], counts.shape[2:])
    chip = Emulator(*chip_of_config(config_text(net)))
    whole = chip.run(events, STEPS)[1]
    chip.reset()
    early = events[events[:, 0] == 0]
    late = events[events[:, 0] > 0] - [1, 0, 0, 0, 0, 0]
    parts = [chip.run(early, 1)[1], chip.run(late, STEPS - 1)[1]]
    assert whole == {core: parts[0][core] + parts[1][core] for core in whole}


# --- The sensor ----------------------------------------------------------------------------------


def seen_plainly(sensor: Sensor, polarity: int, y: int, x: int) -> tuple[int, int, int] | None:
    """Return channel, y, x of what the cores see of a pixel's event."""
    if not (sensor.on if polarity else sensor.off):
        return None
    y, x = y // sensor.pooling[0], x // sensor.pooling[1]
    y, x = y - sensor.origin[0], x - sensor.origin[1]
    height, width = sensor.size
    if not (0 <= y < height and 0 <= x < width):
        return None
    y = height - 1 - y if sensor.mirror[0] else y
    x = width - 1 - x if sensor.mirror[1] else x
    y, x = (x, y) if sensor.swap else (y, x)
    return (0 if sensor.merge else polarity), y, x


@given(st.integers(0, 10_000), st.sampled_from(sorted(CHIPS)))
def test_the_sensor_is_the_same_in_both_forms(seed: int, chip: str) -> None:
    net = network(seed)
    net = Network(CHIPS[chip], net.cores, net.sensor)
    rng = np.random.default_rng(seed)
    time, polarity = np.arange(60), rng.integers(0, 2, 60)
    events = np.stack([time, polarity, *rng.integers(0, 64, (2, 60))], 1)
    expected = [
        (int(t), *found)
        for t, p, y, x in events.tolist()
        if (found := seen_plainly(net.sensor, p, y, x)) is not None
    ]
    for _, sensor in (chip_of_config(config_text(net)), chip_of_words(words(net))):
        assert [tuple(event) for event in sensor.seen(events).tolist()] == expected


# --- What is no configuration --------------------------------------------------------------------


def broken(change: Any) -> str:
    facts = json.loads(config_text(branching(0)))
    change(facts)
    return json.dumps(facts)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.pop("cnn_layers"),
        lambda f: f["cnn_layers"][1].pop("weights"),
        lambda f: f["cnn_layers"][1]["weights"][0].pop(),
        lambda f: f["cnn_layers"][1].update(biases=["a"]),
        lambda f: f["cnn_layers"][1].update(biases=[1e9]),
        lambda f: f["cnn_layers"][1]["biases"].__setitem__(0, 1 << 40),
        lambda f: f["cnn_layers"][1]["dimensions"]["stride"].update(x=0),
        lambda f: f["cnn_layers"][1]["dimensions"].update(kernel_size="3"),
        lambda f: f["cnn_layers"][1].update(threshold_high=None),
        lambda f: f["cnn_layers"][1]["destinations"][0].update(layer=7),
        lambda f: f["cnn_layers"][1]["destinations"][0].update(pooling=0),
        lambda f: f["cnn_layers"][1]["destinations"][0].update(feature_shift=500),
        lambda f: f["cnn_layers"][1]["destinations"].append(f["cnn_layers"][1]["destinations"][0]),
        lambda f: f["cnn_layers"][5].update(
            destinations=[{"enable": True, "layer": 5, "pooling": 1, "feature_shift": 0}]
        ),
        lambda f: f.update(dvs_layer=3),
        lambda f: f["dvs_layer"]["pooling"].update(x=0),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused(change: Any) -> None:
    with pytest.raises(BadFolder):
        chip_of_config(broken(change))


@pytest.mark.parametrize("cut", [1, 2, 40, 41, 300])
def test_words_that_were_cut_are_refused(cut: int) -> None:
    stream = words(branching(0))
    with pytest.raises(BadFolder):
        chip_of_words(stream[:-cut] if cut > 2 else stream[cut:])


def test_words_that_are_none_are_refused() -> None:
    with pytest.raises(BadFolder):
        chip_of_words(np.array([5, 6, 7]))


@pytest.mark.parametrize("event", [[0, 1, 2, 0, 0, 0], [0, 2, 0, 0, 0, 0], [0, 1, 0, 300, 0, 0]])
def test_events_to_where_nothing_is_are_refused(event: list[int]) -> None:
    for compiled in (True, False):
        chip = Emulator(*chip_of_config(config_text(branching(0))), compiled)
        with pytest.raises(BadFolder, match="not there"):
            chip.run([event], 1)


@pytest.mark.parametrize("compiled", [True, False])
def test_states_stay_in_sixteen_bits(compiled: bool) -> None:
    one = Shape(1, 1, 1)
    layer = CoreLayer(
        Geometry(one, one, 1), np.array([[[[100]]]], np.int8), np.zeros(1, np.int16),
        np.array([[[32700]]], np.int16), 32767, -32768,
    )  # fmt: skip
    chip = Emulator(*chip_of_config(config_text(Network(CHIPS["speck2b"], {4: layer}))), compiled)
    assert chip.run([[0, 4, 0, 0, 0, 0]], 1)[1] == {4: 1}
    assert chip.state(0, 4).item() == 0  # 32,800 was cut to 32,767 before the reset


@pytest.mark.parametrize("compiled", [True, False])
def test_all_targets_of_an_input_event_are_queued_before_any_is_taken(compiled: bool) -> None:
    """Two paths of different length join: which of their spikes comes first decides."""
    one, two = Shape(1, 1, 1), Shape(2, 1, 1)

    def cell(weights: Any, source: Shape, high: int, *targets: Destination) -> CoreLayer:
        array = np.array(weights, np.int8).reshape(1, source.channels, 1, 1)
        zero = np.zeros(1, np.int16), np.zeros((1, 1, 1), np.int16)
        return CoreLayer(Geometry(source, one, 1), array, *zero, high, -1, destinations=targets)

    cores = {
        0: cell([50], one, 50, Destination(1)),  # the longer path inhibits,
        1: cell([50], one, 50, Destination(3, 1, 0)),
        2: cell([50], one, 50, Destination(3, 1, 1)),  # the shorter one excites
        3: cell([-40, 50], two, 50),
    }
    chip = Emulator(*chip_of_config(config_text(Network(CHIPS["speck2b"], cores))), compiled)
    events = routed(listed(np.ones((1, 1, 1, 1))), [(0, 1, 0), (2, 1, 0)], (1, 1))
    assert events[:, 5].tolist() == [1, 0]
    assert chip.run(events, 1)[1] == {0: 1, 1: 1, 2: 1, 3: 1}
    chip.reset()
    apart = events * [1, 1, 1, 1, 1, 0]
    assert chip.run(apart, 1)[1][3] == 0  # the inhibition came first: -1, then 49 of 50
