"""Every register decides what the format says, and what it says is not taken on trust."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnir.targets.bss2.emulation.config_reader import config_of, read_config
from snnir.targets.bss2.emulation.config_types import BadFolder
from snnir.targets.bss2.emulation.delivery import Delivery, deliveries
from snnir.targets.bss2.emulation.emulator import Model
from snnir.targets.bss2.emulation.euler import euler_run
from snnir.targets.bss2.emulation.variation import BadInput
from tests.bss2.hand import Layer, Net, folder

#: Neurons: circuit 40 (row 0, column 40, output 1), circuits 300 and 301 joined (row 1, columns 44
#: and 45, output 1). The host's channel 0 has one label, channel 1 two.
SMALL: dict[str, Any] = {
    "id": 0,
    "clocks": {"fast": 2, "slow": 5},
    "neurons": [
        {"population": "h", "index": i, "circuits": circuits, "address": address, "leak": 80,
         "reset": 70, "threshold": 120, "tau_mem": 6, "tau_syn": [6, 6],
         "membrane_capacitance": 63, "refractory_time": 1.0, "refractory_clock": "fast",
         "refractory_count": 10, "holdoff_count": 2}
        for i, (circuits, address) in enumerate([([40], 5), ([300, 301], 0b11_000110)])
    ],
    "events": [
        {"population": "x", "index": 0, "labels": [2 << 14 | 0x1000 | 7 << 6 | 9]},
        {"population": "x", "index": 1, "labels": [0x0800 | 1 << 6 | 9, 2 << 14 | 0x1000 | 9]},
    ],
    "background": [
        {"bus": 6, "label": 3 << 6 | 1, "period_ticks": 100, "start_ticks": 3, "population": "c",
         "index": 0},
    ],
    # Bus 2 of hemisphere 0: drivers 2, 6, …, 30 (7 on the bus). Bus 2 of hemisphere 1 too.
    "rows": [[0, 4, "excitatory"], [0, 5, "inhibitory"], [0, 60, "excitatory"],
             [1, 28, "inhibitory"], [1, 29, "excitatory"], [1, 10, "excitatory"]],
    "drivers": [[0, 2, 0], [0, 30, 31], [1, 14, 0b00111], [1, 5, 0b11111]],
    "synapses": {
        "hemisphere": [0, 0, 0, 0, 1, 1, 1, 1],
        "row": [4, 5, 60, 4, 28, 29, 29, 10],
        "column": [40, 40, 40, 99, 44, 45, 44, 45],
        "weight": [11, 3, 20, 50, 7, 30, 2, 60],
        "label": [9, 9, 9, 9, 1, 1, 9, 5],
    },
    # Host link 2 to bus 2 of hemisphere 0; link 0 there only with bit 11; neurons of output 1 to
    # bus 1 of hemisphere 1 and to the host; generator 6 to bus 2 of hemisphere 1.
    "crossbar": [[10, 2, 0x3000, 0x1000], [8, 2, 0x0800, 0x0800], [1, 5, 0, 0],
                 [1, 9, 0xFF, 5], [18, 6, 0, 0]],
    "projections": [],
}  # fmt: skip


def facts(change: Callable[[Any], None] = lambda execution: None) -> Any:
    net = Net(
        {"x": 2}, {"h": Layer(2)}, {("x", "h"): np.ones((2, 2))}, constants={"c": (3, 100, True)}
    )
    whole = folder(net)
    whole["executions"] = [copy.deepcopy(SMALL)]
    change(whole["executions"][0])
    return whole


def reach(delivery: Delivery) -> list[list[tuple[int, int, int, int]]]:
    """Return (bus, neuron, excitation, inhibition) by packet."""
    up, down = delivery.sums()
    found = []
    for packet in range(len(delivery.legs) - 1):
        rows = [
            (int(delivery.bus[leg]), int(delivery.unit[k]), int(up[k]), int(down[k]))
            for leg in range(delivery.legs[packet], delivery.legs[packet + 1])
            for k in range(delivery.entries[leg], delivery.entries[leg + 1])
        ]
        found.append(rows)
    return found


def small(change: Callable[[Any], None] = lambda execution: None) -> Any:
    delivery = deliveries(config_of(facts(change)).executions[0])
    return reach(delivery), delivery.recorded.tolist()


#: Packets: neuron 0, neuron 1, channel 0, channel 1 twice, the generator.
BEFORE = [
    # Label 5 | 1 << 8: address 4, bus 1 of hemisphere 1: driver 5 is number 1 there: no.
    [],
    # Label 0b11_000110 | 1 << 8: address 7; driver 5 no.
    [],
    # Address 7 (+ 0x1000): driver 2 has mask 0, driver 30 is number 7 on the bus.
    [(2, 0, 31, 3)],
    # Link 0, bit 11 set: address 1 | bit 11 is not of it: driver 2 alone.
    [(2, 0, 11, 3)],
    [(2, 0, 11, 3)],
    # Address 3; driver 14 is number 3, mask 7: yes. Columns 44 and 45 are one neuron.
    [(6, 1, 30, 7)],
]


def test_events_reach_what_the_registers_say() -> None:
    assert small() == (BEFORE, [True, False])


def changed(packet: int, reached: list[tuple[int, int, int, int]]) -> Any:
    return [reached if k == packet else old for k, old in enumerate(BEFORE)]


CHANGES: dict[str, tuple[Callable[[Any], None], Any]] = {
    "label of an event": (
        lambda e: e["events"][0].update(labels=[2 << 14 | 0x1000 | 7 << 6 | 8]), changed(2, [])),
    "address of an event": (
        lambda e: e["events"][0].update(labels=[2 << 14 | 0x1000 | 6 << 6 | 9]),
        changed(2, [(2, 0, 11, 3)])),
    "link of an event": (
        lambda e: e["events"][0].update(labels=[1 << 14 | 0x1000 | 7 << 6 | 9]), changed(2, [])),
    "target of a node": (lambda e: e["crossbar"][0].__setitem__(3, 0x3000),
                         [*BEFORE[:2], [], BEFORE[3], [], BEFORE[5]]),
    "mask of a node": (lambda e: e["crossbar"][0].__setitem__(2, 0x3FFF),
                       [*BEFORE[:2], [], BEFORE[3], [], BEFORE[5]]),
    "a node less": (lambda e: e["crossbar"].pop(1), changed(3, [])),
    "mask of a driver": (lambda e: e["drivers"][1].__setitem__(2, 0b11110),
                         changed(2, [(2, 0, 31, 3)])),
    "mask of a driver, all": (lambda e: e["drivers"][1].__setitem__(2, 0),
                              [*BEFORE[:2], *[[(2, 0, 31, 3)]] * 3, BEFORE[5]]),
    "a driver less": (lambda e: e["drivers"].pop(0), [*BEFORE[:2], [(2, 0, 20, 0)], [], [], BEFORE[5]]),
    "mode of a row": (lambda e: e["rows"][1].__setitem__(2, "excitatory"),
                      [*BEFORE[:2], [(2, 0, 34, 0)], *[[(2, 0, 14, 0)]] * 2, BEFORE[5]]),
    "a row less": (lambda e: e["rows"].pop(0),
                   [*BEFORE[:2], [(2, 0, 20, 3)], *[[(2, 0, 0, 3)]] * 2, BEFORE[5]]),
    "label of a synapse": (lambda e: e["synapses"]["label"].__setitem__(0, 10),
                           [*BEFORE[:2], [(2, 0, 20, 3)], *[[(2, 0, 0, 3)]] * 2, BEFORE[5]]),
    "weight of a synapse": (lambda e: e["synapses"]["weight"].__setitem__(4, 63),
                            changed(5, [(6, 1, 30, 63)])),
    "column of a synapse": (lambda e: e["synapses"]["column"].__setitem__(5, 46),
                            changed(5, [(6, 1, 0, 7)])),
    "address of a neuron": (  # row-select 4 is taken by driver 5, number 1 on its bus
        lambda e: e["drivers"][3].__setitem__(2, 0b11010),
        changed(0, [(5, 1, 60, 0)])),
    "circuit of a neuron": (lambda e: e["neurons"][0].update(circuits=[8]),
                            [[], [], [], [], [], BEFORE[5]]),
    "bus of a generator": (lambda e: e["background"][0].update(bus=7), changed(5, [])),
    "label of a generator": (lambda e: e["background"][0].update(label=3 << 6 | 9),
                             changed(5, [(6, 1, 2, 0)])),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_every_register_counts(what: str) -> None:
    change, expected = CHANGES[what]
    assert small(change)[0] == expected


def test_the_event_output_is_in_the_label() -> None:
    def moved(execution: Any) -> None:
        # Output 5, so address 5 << 2: driver 81 is number 20 on bus 1.
        execution["neurons"][0]["circuits"] = [168]
        execution["crossbar"].append([5, 5, 0x3FFF, 5 | 5 << 8])
        execution["drivers"].append([1, 81, 31])
        execution["rows"].append([1, 162, "excitatory"])
        for key, value in zip(execution["synapses"], (1, 162, 44, 33, 5), strict=True):
            execution["synapses"][key].append(value)

    assert small(moved)[0] == [[(5, 1, 33, 0)], [], [], [], [], BEFORE[5]]


def test_the_host_sees_what_the_links_pass() -> None:
    assert small(lambda e: e["crossbar"][3].__setitem__(2, 0))[1] == [False, False]
    assert small(lambda e: e["crossbar"].__setitem__(3, [1, 9, 0, 0]))[1] == [True, True]
    assert small(lambda e: e["crossbar"].pop(3))[1] == [False, False]

    def same(execution: Any) -> None:
        execution["neurons"][1]["address"] = 5

    with pytest.raises(BadFolder, match="two sources"):
        small(same)


# --- Hostile files -------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        found += [p for key, item in value.items() for p in places(item, (*path, key))]
    elif isinstance(value, list):
        found += [p for k, item in enumerate(value[:3]) for p in places(item, (*path, k))]
    return found


#: Nothing reads these.
UNREAD = (
    "report", "global", "shape", "model", "source_sha256", "snnir", "speedup", "gain_nominal",
    "meta", "name",
)  # fmt: skip
PLACES = [p for p in places(facts()) if not set(UNREAD) & set(p[:2]) or p[:1] == ("populations",)]
HOSTILE: tuple[Any, ...] = (
    None, True, -1, 1.5, 1e308, float("nan"), float("inf"), 10**400, "", "x" * 2000, "nothing",
    [], [[]], {}, [None], ["a", "b"], [1e9], [[10**30]],
)  # fmt: skip


@given(st.sampled_from(PLACES), st.sampled_from(HOSTILE))
def test_any_value_is_read_or_refused(path: tuple[Any, ...], value: Any) -> None:
    whole = facts()
    at = whole
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    try:
        config = config_of(whole)
        for setup in config.executions:
            deliveries(setup)
    except BadFolder:
        return
    # What is accepted is a value that the format allows in this place.
    allowed = {
        "gain", "leak", "reset", "threshold", "tau_mem", "refractory_time", "offset", "factor",
        "start_ticks", "period_ticks", "step_ticks", "executions", "events", "background", "rows",
        "drivers", "synapses", "crossbar", "projections", "labels", "spiking", "inputs", "outputs",
        "name", "population", "shape", "populations",
    }  # fmt: skip
    assert set(path) & allowed, (path, value)


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "schema": (lambda f: f.update(schema="snnir.bss2/2"), "schema"),
    "chip": (lambda f: f["meta"].update(chip="speck2f"), "chip"),
    "latency": (lambda f: f["meta"].update(latency_ticks=0), "latency_ticks"),
    "step": (lambda f: f["meta"].update(step_ticks=0), "step_ticks"),
    "gain": (lambda f: f["meta"].update(gain=float("nan")), "gain"),
    "ids": (lambda f: f["executions"][0].update(id=1), "ids"),
    "two neurons in a circuit": (
        lambda f: f["executions"][0]["neurons"][0].update(circuits=[301]), "shares circuits"),
    "no circuits": (
        lambda f: f["executions"][0]["neurons"][0].update(circuits=[]), "shares circuits"),
    "twice the same": (lambda f: f["executions"][0]["neurons"][0].update(index=1), "comes twice"),
    "index": (lambda f: f["executions"][0]["neurons"][0].update(index=2), "index of a neuron"),
    "address": (lambda f: f["executions"][0]["neurons"][0].update(address=256), "address"),
    "tau": (lambda f: f["executions"][0]["neurons"][0].update(tau_syn=[1, 0]), "time constant"),
    "three taus": (lambda f: f["executions"][0]["neurons"][0].update(tau_syn=[1, 1, 1]), "incomplete"),
    "capacitance": (
        lambda f: f["executions"][0]["neurons"][0].update(membrane_capacitance=0), "capacitance"),
    "clock": (lambda f: f["executions"][0]["neurons"][0].update(refractory_clock="x"), "incomplete"),
    "scale": (lambda f: f["executions"][0]["clocks"].update(slow=16), "slow"),
    "holdoff": (lambda f: f["executions"][0]["neurons"][0].update(holdoff_count=11), "holdoff"),
    "weight 0": (lambda f: f["executions"][0]["synapses"]["weight"].__setitem__(0, 0), "weight"),
    "weight 64": (lambda f: f["executions"][0]["synapses"]["weight"].__setitem__(0, 64), "weight"),
    "row": (lambda f: f["executions"][0]["synapses"]["row"].__setitem__(0, 256), "row of"),
    "lengths": (lambda f: f["executions"][0]["synapses"]["row"].append(1), "differ in length"),
    "synapse twice": (
        lambda f: [f["executions"][0]["synapses"][k].append(v[0]) for k, v in
                   SMALL["synapses"].items()], "synapse comes twice"),
    "driver twice": (lambda f: f["executions"][0]["drivers"].append([0, 2, 1]), "comes twice"),
    "driver": (lambda f: f["executions"][0]["drivers"].append([0, 128, 1]), "drivers"),
    "mode": (lambda f: f["executions"][0]["rows"][0].__setitem__(2, "both"), "no mode"),
    "no such node": (lambda f: f["executions"][0]["crossbar"].append([0, 1, 0, 0]), "no node"),
    "node twice": (lambda f: f["executions"][0]["crossbar"].append([1, 5, 0, 1]), "comes twice"),
    "label": (lambda f: f["executions"][0]["events"][0].update(labels=[65536]), "labels"),
    "events twice": (lambda f: f["executions"][0]["events"][0].update(index=1), "come twice"),
    "events of later neurons": (
        lambda f: f["executions"][0]["events"][0].update(population="h"), "not known yet"),
    "generator's source": (
        lambda f: f["executions"][0]["background"][0].update(population="x"), "no constant"),
    "generator's period": (
        lambda f: f["executions"][0]["background"][0].update(period_ticks=0), "period"),
    "generator twice": (
        lambda f: f["executions"][0]["background"].append(f["executions"][0]["background"][0]),
        "generator comes twice"),
    "more labels than there are": (
        lambda f: f["executions"][0]["events"][0].update(labels=[1] * 65537), "more labels"),
    "projection twice": (
        lambda f: f["executions"][0].update(projections=2 * [
            {"source": "x", "target": "h", "pre": [0], "post": [0], "weight": [1]}]),
        "projection comes twice"),
    "zero projection": (
        lambda f: f["executions"][0].update(projections=[
            {"source": "x", "target": "h", "pre": [2], "post": [0], "weight": [1]}]), "pre"),
    "shape": (lambda f: f["populations"][0].update(shape=[3]), "not its size"),
    "size": (lambda f: f["populations"][0].update(size=1 << 40), "size"),
    "huge shape": (lambda f: f["populations"][0].update(shape=[2] * 99), "not its size"),
    "output of an input": (lambda f: f["outputs"][0].update(population="x"), "not what"),
    "offset": (lambda f: f["populations"][2].update(offset=[1.0]), "one for each neuron"),
    "no threshold": (lambda f: f["populations"][2].update(spiking=False), "never spikes"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_files_are_refused_by_name(what: str) -> None:
    change, said = WRONG[what]
    whole = facts()
    change(whole)
    with pytest.raises(BadFolder, match=said):
        config_of(whole)


def test_what_would_take_all_memory_is_refused() -> None:
    whole = facts()
    execution = whole["executions"][0]
    execution["events"][0]["labels"] = list(range(0, 1 << 14, 64)) * 128
    execution["drivers"] = [[h, d, 0] for h in range(2) for d in range(128)]
    execution["rows"] = [[h, r, "excitatory"] for h in range(2) for r in range(256)]
    execution["crossbar"] = [[8, o, 0, 0] for o in range(8)]
    place = np.indices((2, 256, 256)).reshape(3, -1).tolist()
    names = ("hemisphere", "row", "column")
    execution["synapses"] = dict(zip(names, place, strict=True))
    execution["synapses"] |= {"weight": [1] * 2**17, "label": [0] * 2**17}
    with pytest.raises(BadFolder, match="events reach more than"):
        deliveries(config_of(whole).executions[0])
    whole = facts()
    whole["executions"][0]["events"][0]["labels"] = [0] * 65000
    with pytest.raises(BadInput, match="packets"):
        Model(config_of(whole)).run({"x": np.full((2, 1, 2), 65535)})
    whole = facts()
    (one,) = whole["executions"][0]["background"]
    one["period_ticks"] = 1
    whole["executions"][0]["background"] = [{**one, "bus": bus} for bus in range(8)]
    whole["meta"]["step_ticks"] = 2.0**25
    with pytest.raises(BadInput, match="generators have more"):
        Model(config_of(whole)).run({"x": np.zeros((1, 1, 2))})


def test_a_matrix_has_its_own_neurons_only() -> None:
    """Populations may be large, of which an execution has few neurons."""
    whole = facts()
    size = 1 << 19
    whole["populations"][2] |= {
        "size": size, "shape": [size], "offset": [0.0] * size, "factor": [1.0] * size,
    }  # fmt: skip
    whole["outputs"][0]["shape"] = [size]
    loop = {"source": "h", "target": "h", "pre": [size - 1], "post": [1], "weight": [3]}
    whole["executions"][0]["projections"] = [loop]
    config = config_of(whole)
    spikes, _ = euler_run(config, {}, 1, 1)
    assert spikes["h"].shape == (1, 1, size)


def test_files_that_are_no_json(tmp_path: Path) -> None:
    path = tmp_path / "model.bss2.json"
    good = json.dumps(facts())
    path.write_text(good)
    assert read_config(path).gain == 0.2
    texts = ("", "[]", "3", "{}", good[:-5], good.replace("0.2", "NaN"), "[" * 100000, "\udcff",
             good.replace("0.2", "1e999"), good.replace("0.2", "9" * 10000),
             good.replace('"gain"', '"chip": "hicann-x-v3", "gain"'))  # fmt: skip
    for text in texts:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(BadFolder):
            read_config(path)
    with pytest.raises(BadFolder, match="cannot be read"):
        read_config(tmp_path / "absent.json")
