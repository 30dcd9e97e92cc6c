"""Placement and routing: what fits, that it is right, and what is refused."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.vendor_rows import rows_two_per_pair
from snnir.targets.bss2.chips import BUSES, HICANN_X, LINK_INPUTS, NEURON_INPUTS, Chip, reaches
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.network import Array, Cells, LogicalNetwork, Projection, Source
from snnir.targets.bss2.routing.connectivity import connectivity
from snnir.targets.bss2.routing.matching import mask_of, match
from snnir.targets.bss2.routing.partition import partition
from snnir.targets.bss2.routing.problems import NotRouted, Problem
from snnir.targets.bss2.routing.route import route

TINY = Chip("tiny", columns=8, drivers=2, per_output=1)
SMALL = Chip("small", columns=32, drivers=8, per_output=4)


def weights(seed: int, targets: int, sources: int, density: float = 1.0, most: int = 63) -> Array:
    rng = np.random.default_rng(seed)
    w = rng.integers(1, most + 1, (targets, sources)) * rng.choice([-1, 1], (targets, sources))
    found: Array = w * (rng.random((targets, sources)) < density)
    return found


def network(
    sources: Mapping[str, int | Source],
    cells: Mapping[str, int | Cells],
    *projections: tuple[str, str, Array],
) -> LogicalNetwork:
    """Sources and cells by size or as they are; projections (source, target, weights)."""
    return LogicalNetwork(
        {n: Source(n, s) if isinstance(s, int) else s for n, s in sources.items()},
        {n: Cells(n, c) if isinstance(c, int) else c for n, c in cells.items()},
        tuple(Projection(*p) for p in projections),
    )


def chain(seed: int, *sizes: int, density: Sequence[float] = ()) -> LogicalNetwork:
    """A feed-forward network, the last population of which does not spike."""
    names = ["in", *(f"l{k}" for k in range(1, len(sizes)))]
    cells = {n: Cells(n, s) for n, s in zip(names[1:], sizes[1:], strict=True)}
    cells[names[-1]] = replace(cells[names[-1]], spiking=False)
    dense = [*density, *[1.0] * len(sizes)]
    links = [
        (names[k], names[k + 1], weights(seed + k, sizes[k + 1], sizes[k], dense[k]))
        for k in range(len(sizes) - 1)
    ]
    return network({"in": sizes[0]}, cells, *links)


def follow(execution: Execution, chip: Chip) -> dict[tuple[str, int, str, int], int]:
    """Weights by (source, index, population, index), an event at a time, as the format says."""
    senders: list[tuple[str, int, int, int]] = []
    for (name, index), labels in execution.labels.items():
        senders += [(name, index, 8 + (label >> 14), label & 0x3FFF) for label in labels]
    senders += [(g.population, g.index, 12 + g.bus, g.label) for g in execution.generators]
    owner: dict[int, tuple[str, int]] = {}
    for site in execution.sites:
        who = (site.population, site.index)
        owner.update(dict.fromkeys(site.circuits, who))
        if execution.network.cells[site.population].spiking:
            out = site.circuits[0] % chip.columns // chip.per_output
            senders.append((*who, out, site.address | out << 8))
    at: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    s = execution.synapses
    for h, row, column, weight, label in zip(
        s.hemisphere, s.row, s.column, s.weight, s.label, strict=True
    ):
        at.setdefault((int(h), int(row)), []).append((int(column), int(weight), int(label)))
    found: dict[tuple[str, int, str, int], int] = {}
    for name, index, entry, label in senders:
        for h, driver in taken(execution, entry, label):
            for row in (2 * driver, 2 * driver + 1):
                for column, weight, own in at.get((h, row), ()):
                    if own == label & 63:
                        key = (name, index, *owner[h * chip.columns + column])
                        found[key] = found.get(key, 0) + weight * execution.rows[h, row]
    return found


def taken(execution: Execution, entry: int, label: int) -> Iterator[tuple[int, int]]:
    """Drivers that take an event, once for each way there."""
    for (i, output), (mask, target) in execution.crossbar.items():
        if i == entry and label & mask == target and output < 8:
            for (h, driver), compared in execution.drivers.items():
                here = h == output // 4 and driver % 4 == output % 4
                if here and (label >> 6 & 31) & compared == driver // 4 & compared:
                    yield h, driver


def check(
    execution: Execution, net: LogicalNetwork, chip: Chip = HICANN_X, slow: bool = False
) -> None:
    """The weights are those of the network, and nothing is there twice or out of range."""
    real = connectivity(execution, chip)
    wanted = {(p.source, p.target): p.weights for p in net.projections if p.weights.any()}
    assert real.keys() == wanted.keys()
    assert all(np.array_equal(real[pair], wanted[pair]) for pair in wanted)
    check_form(execution, chip)
    if slow:
        expected = {
            (a, int(j), b, int(i)): int(w[i, j])
            for (a, b), w in wanted.items()
            for i, j in zip(*np.nonzero(w), strict=True)
        }
        assert follow(execution, chip) == expected


def check_form(execution: Execution, chip: Chip) -> None:
    cells = execution.network.cells
    circuits = [c for site in execution.sites for c in site.circuits]
    assert len(circuits) == len(set(circuits))
    assert not circuits or (min(circuits) >= 0 and max(circuits) < chip.circuits)
    seen: set[tuple[int, int]] = set()
    for site in execution.sites:
        assert len(site.circuits) >= cells[site.population].circuits
        check_block(site.circuits, chip)
        assert 0 <= site.address < 256
        if cells[site.population].spiking:
            output = chip.event_output(site.circuits[0])
            assert (output, site.address) not in seen
            seen.add((output, site.address))
            mask, target = execution.crossbar[output, 8 + output % 4]
            assert (site.address | output << 8) & mask == target
    s = execution.synapses
    places = set(zip(s.hemisphere.tolist(), s.row.tolist(), s.column.tolist(), strict=True))
    assert len(places) == len(s.weight)
    assert ((s.weight >= 1) & (s.weight <= 63) & (s.label >= 0) & (s.label < 64)).all()
    assert {(h, row) for h, row, _ in places} <= execution.rows.keys()
    assert {(h, row // 2) for h, row in execution.rows} == execution.drivers.keys()
    assert all(0 <= driver < BUSES * chip.drivers for _, driver in execution.drivers)
    assert all(reaches(*node) for node in execution.crossbar)
    assert all(0 <= label < 1 << 16 for labels in execution.labels.values() for label in labels)
    assert len({g.bus for g in execution.generators}) == len(execution.generators)


def check_block(circuits: tuple[int, ...], chip: Chip) -> None:
    """A block is filled column by column, or in one row, and does not cross the middle."""
    first = circuits[0]
    row, column = divmod(first, chip.columns)
    tall = [first + i // 2 + i % 2 * chip.columns for i in range(len(circuits))]
    flat = [first + i for i in range(len(circuits))]
    assert list(circuits) == flat or (row == 0 and list(circuits) == tall)
    half = chip.columns // 2
    assert {c % chip.columns // half for c in circuits} == {column // half}


FITS = {
    "25-120-3": lambda: chain(0, 25, 120, 3),
    "5-120(rec)-3": lambda: network(
        {"in": 5},
        {"h": 120, "out": Cells("out", 3, spiking=False)},
        ("in", "h", weights(0, 120, 5)),
        ("h", "h", weights(1, 120, 120)),
        ("h", "out", weights(2, 3, 120)),
    ),
    "128-256-10": lambda: chain(0, 128, 256, 10, density=(1, 0.45)),
    "180-256": lambda: chain(0, 180, 256),
    "205-256": lambda: chain(0, 205, 256),
    "160-200-100-10": lambda: chain(0, 160, 200, 100, 10, density=(1, 0.8, 0.5)),
    "784-10": lambda: chain(0, 784, 10, density=(0.2,)),
    "512 recurrent": lambda: network(
        {"in": 1},
        {"h": 512},
        ("in", "h", weights(0, 512, 1)),
        ("h", "h", weights(1, 512, 512, 0.25)),
    ),
    "every synapse": lambda: network(
        {"in": 256}, {"h": 512}, ("in", "h", np.abs(weights(0, 512, 256)))
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_what_fits_is_routed_and_right(name: str) -> None:
    net = FITS[name]()
    execution = route(net)
    check(execution, net)
    assert set(execution.facts["events_per_spike"].values()) == {1.0}
    assert sum(map(sum, execution.facts["rows"])) == len(execution.rows)
    assert execution.facts["synapses"] == len(execution.synapses.weight)


def test_every_synapse_of_the_chip_is_used() -> None:
    facts = route(FITS["every synapse"]()).facts
    assert facts["utilisation"] == {"circuits": 1, "rows": 1, "synapses": 1}
    assert facts["rows"] == [[64] * 4] * 2
    assert facts["events_per_link"] == [64] * 4


def test_two_rows_for_each_source_are_more() -> None:
    assert rows_two_per_pair(FITS["25-120-3"]()) == 290
    assert rows_two_per_pair(chain(0, 128, 256)) == 256
    assert rows_two_per_pair(chain(0, 129, 256)) is None
    assert rows_two_per_pair(chain(0, 129, 256), merge=True) is not None
    assert rows_two_per_pair(FITS["180-256"]()) is None


def test_an_event_at_a_time_gives_the_same() -> None:
    net = FITS["25-120-3"]()
    check(route(net), net, slow=True)


@pytest.mark.parametrize("circuits", [2, 3, 4, 7])
def test_merged_circuits_share_the_inputs_of_a_neuron(circuits: int) -> None:
    net = network(
        {"in": 300},
        {"h": Cells("h", 30, circuits=circuits), "out": Cells("out", 4, spiking=False)},
        ("in", "h", weights(0, 30, 300)),
        ("h", "h", weights(1, 30, 30)),
        ("h", "out", weights(2, 4, 30)),
    )
    execution = route(net)
    check(execution, net)
    assert all(len(s.circuits) == circuits for s in execution.sites if s.population == "h")


def test_neurons_get_the_circuits_their_inputs_need() -> None:
    net = chain(0, 784, 64)
    execution = route(net)
    check(execution, net)
    assert {len(site.circuits) for site in execution.sites} == {4}


def test_weights_beyond_a_synapse_are_split() -> None:
    net = network({"in": 3}, {"h": 2}, ("in", "h", np.array([[200, -63, 0], [-64, 126, 1]])))
    execution = route(net)
    check(execution, net, slow=True)
    assert sorted(execution.synapses.weight) == [1, 1, 11, 63, 63, 63, 63, 63, 63, 63]


def test_a_weight_that_needs_more_rows_than_a_bus_has() -> None:
    net = network({"in": 1}, {"h": 1}, ("in", "h", np.array([[63 * 65]])))
    execution = route(net)
    check(execution, net, slow=True)


def test_generators_make_the_events_of_what_is_always_on() -> None:
    net = network(
        {"one": Source("one", 1, "constant", background=True), "two": Source("two", 1, "constant")},
        {"a": 40, "b": 20},
        ("one", "a", weights(0, 40, 1)),
        ("one", "b", weights(1, 20, 1)),
        ("two", "b", weights(2, 20, 1)),
        ("a", "b", weights(3, 20, 40)),
    )
    execution = route(net)
    check(execution, net, slow=True)
    assert sorted(g.bus // BUSES for g in execution.generators) == [0, 1]
    assert set(execution.labels) == {("two", 0)}
    for g in execution.generators:
        assert (NEURON_INPUTS + LINK_INPUTS + g.bus, g.bus) in execution.crossbar


def test_each_background_source_has_a_bus_of_its_own() -> None:
    sources = {f"b{k}": Source(f"b{k}", 1, "constant", background=True) for k in range(4)}
    net = network(sources, {"h": 6}, *((n, "h", weights(0, 6, 1)) for n in sources))
    execution = route(net)
    check(execution, net, slow=True)
    assert sorted(g.bus for g in execution.generators) == [0, 1, 2, 3]


def test_background_sources_share_no_bus_where_the_others_are_fuller() -> None:
    sources = {f"b{k}": Source(f"b{k}", 1, "constant", background=True) for k in range(2)}
    busy = np.array([[630, 630, 630, 0]] * 2)
    ones = np.ones((2, 1), int)
    own = [(name, "h", ones) for name in sources]
    net = network(sources, {"a": 4, "h": 2}, *own, ("a", "h", busy))
    check(route(net), net, slow=True)


def test_blocks_do_not_cross_the_middle() -> None:
    # Five side by side in two rows take three columns: ten neurons. In one row there are twelve.
    net = network({"in": 3}, {"h": Cells("h", 11, circuits=5)}, ("in", "h", weights(0, 11, 3)))
    execution = route(net, SMALL)
    check(execution, net, SMALL)
    assert "circuits in rows" in execution.facts["strategy"]
    more = replace(net, cells={"h": Cells("h", 11, circuits=6)})
    assert "h" in {p.node for p in refused(more, SMALL).values()}


def test_neurons_without_targets_reach_no_bus() -> None:
    execution = route(chain(0, 4, 30, 20, 5))
    first = {s.index: s for s in execution.sites if s.population == "l2"}
    net = execution.network
    silent = replace(net, cells={**net.cells, "quiet": Cells("quiet", 60)})
    execution = route(silent)
    check(execution, silent)
    assert len(first) == 20
    for site in execution.sites:
        if site.population == "quiet":
            output = HICANN_X.event_output(site.circuits[0])
            label = site.address | output << 8
            for (entry, to), (mask, target) in execution.crossbar.items():
                if entry == output and to < 8:
                    assert label & mask != target


def test_populations_without_neurons_and_channels_without_synapses() -> None:
    net = network({"in": 5, "none": 0}, {"h": 3, "empty": 0}, ("in", "h", weights(0, 3, 5, 0.3)))
    execution = route(net)
    check(execution, net, slow=True)
    assert len(execution.sites) == 3
    nothing = network({}, {"h": 4})
    assert len(route(nothing).synapses.weight) == 0


def test_two_hundred_neurons_in_one_bus_class_are_told_apart_by_addresses() -> None:
    # 512 neurons, all with targets in both hemispheres: 128 on a bus, more than labels.
    net = network({}, {"h": 512}, ("h", "h", weights(0, 512, 512, 0.1)))
    execution = route(net)
    check(execution, net)
    assert 0 not in execution.drivers.values()


# What is refused.


def refused(
    net: LogicalNetwork,
    chip: Chip = HICANN_X,
    by: Callable[[LogicalNetwork, Chip], object] = route,
) -> dict[str, Problem]:
    begin = time.perf_counter()
    with pytest.raises(NotRouted) as caught:
        by(net, chip)
    assert time.perf_counter() - begin < 5
    for problem in caught.value.problems:
        assert problem.need > problem.limit
        assert str(problem.need) in problem.message
        assert str(problem.limit) in problem.message
        assert problem.hint
    return {p.resource: p for p in caught.value.problems}


def test_too_many_neurons() -> None:
    found = refused(chain(0, 10, 250, 270))["NeuronBudget"]
    assert (found.need, found.limit, found.node) == (520, 512, "l2")
    assert "l1 250 x 1 + l2 270 x 1" in found.message


def test_circuits_for_inputs_count() -> None:
    found = refused(chain(0, 784, 256, 10))["NeuronBudget"]
    assert found.need == 256 * 4 + 10


def test_more_synapses_than_circuits_can_be_merged() -> None:
    found = refused(network({"in": 8}, {"h": 1}, ("in", "h", np.full((1, 8), 63 * 20))), TINY)
    assert (found["FanIn"].need, found["FanIn"].limit) == (160, 128)
    found = refused(network({}, {"h": Cells("h", 1, circuits=300)}))
    assert (found["FanIn"].need, found["FanIn"].limit) == (300, 256)


def test_too_few_rows() -> None:
    found = refused(chain(0, 250, 512))
    assert found["RowBudget"].node == "l1"
    assert found["RowBudget"].limit == 256
    assert found["NeuronBudget"].need == 1024


def test_too_few_rows_on_a_bus() -> None:
    # A generator's events come to one bus: 70 synapses of each sign do not.
    net = network(
        {"on": Source("on", 1, "constant", background=True)},
        {"h": 512},
        ("on", "h", np.full((512, 1), 63 * 65)),
    )
    found = refused(net)["RowBudget"]
    assert (found.node, found.need, found.limit) == ("on", 66, 64)


def test_too_many_channels() -> None:
    net = network(
        {"in": 17000},
        {"h": 10},
        ("in", "h", np.eye(10, 17000, dtype=int) + np.eye(1, 10, 9, dtype=int).T),
    )
    found = refused(net)["LabelSpace"]
    assert (found.need, found.limit) == (17000, 16384)


def test_too_many_generators() -> None:
    sources = {f"b{k}": Source(f"b{k}", 1, "constant", background=True) for k in range(9)}
    found = refused(network(sources, {"h": 1}, *((n, "h", weights(0, 1, 1)) for n in sources)))
    assert (found["LabelSpace"].need, found["LabelSpace"].limit) == (9, 8)


def test_all_that_lacks_is_said_at_once() -> None:
    net = network(
        {"in": 17000},
        {"h": 600},
        ("in", "h", np.eye(600, 17000, dtype=int) + (np.arange(600) < 1)[:, None]),
    )
    assert refused(net).keys() == {"NeuronBudget", "LabelSpace"}


def test_large_networks_are_refused_quickly() -> None:
    net = network({"in": 10}, {"h": 100_000}, ("in", "h", np.ones((100_000, 10), np.int8)))
    for by in (route, partition):
        begin = time.perf_counter()
        refused(net, by=by)
        assert time.perf_counter() - begin < 2


@pytest.mark.parametrize(
    "projection",
    [
        ("in", "h", np.ones((3, 2))),
        ("in", "h", np.ones((2, 3), int)),
        ("in", "in", np.ones((2, 2), int)),
        ("out", "h", np.ones((3, 1), int)),
    ],
)
def test_inconsistent_networks(projection: tuple[str, str, Array]) -> None:
    with pytest.raises(ValueError, match="projection"):
        route(network({"in": 2}, {"h": 3, "out": Cells("out", 1, False)}, projection))


# Several executions.


def check_parts(
    executions: Sequence[Execution], net: LogicalNetwork, chip: Chip = HICANN_X
) -> None:
    total: dict[tuple[str, str], Array] = {}
    computed: list[tuple[str, int]] = []
    ready = set(net.sources)
    for execution in executions:
        check_form(execution, chip)
        assert set(execution.network.sources) <= ready
        for name, source in execution.network.sources.items():
            size = net.sources[name].size if name in net.sources else net.cells[name].size
            assert source.size == size
        for name, cells in execution.network.cells.items():
            assert cells == net.cells[name]
        real = connectivity(execution, chip)
        used = [p for p in execution.network.projections if p.weights.any()]
        own = {(p.source, p.target): p.weights for p in used}
        assert real.keys() == own.keys()
        for pair, w in real.items():
            assert np.array_equal(w, own[pair])
            total[pair] = total.get(pair, 0) + w
        computed += [(site.population, site.index) for site in execution.sites]
        ready |= {n for n, c in net.cells.items() if sum(p == n for p, _ in computed) == c.size}
    assert sorted(computed) == sorted((n, i) for n, c in net.cells.items() for i in range(c.size))
    for p in net.projections:
        assert np.array_equal(total.get((p.source, p.target), 0 * p.weights), p.weights)


@pytest.mark.parametrize(
    ("sizes", "number"),
    [((100, 512, 10), 2), ((784, 256, 10), 3), ((25, 120, 3), 1), ((20, 600, 600, 5), 6)],
)
def test_networks_in_parts(sizes: tuple[int, ...], number: int) -> None:
    net = chain(0, *sizes, density=[1] + [0.2] * (sizes[1] == 600))
    executions = partition(net)
    check_parts(executions, net)
    assert len(executions) <= number


def test_what_is_connected_in_a_circle_stays_together() -> None:
    net = network(
        {"in": 20},
        {"a": 300, "b": 100, "c": 100, "d": 200},
        ("in", "a", weights(0, 300, 20)),
        ("a", "b", weights(1, 100, 300, 0.3)),
        ("b", "c", weights(2, 100, 100, 0.3)),
        ("c", "b", weights(3, 100, 100, 0.3)),
        ("c", "d", weights(4, 200, 100, 0.3)),
    )
    executions = partition(net)
    check_parts(executions, net)
    assert len(executions) == 2
    assert any({"b", "c"} <= set(e.network.cells) for e in executions)


def test_circles_that_do_not_fit_are_refused() -> None:
    net = network(
        {},
        {"a": 300, "b": 300},
        ("a", "b", weights(0, 300, 300, 0.1)),
        ("b", "a", weights(1, 300, 300, 0.1)),
    )
    found = refused(net, by=partition)
    assert "a and b are connected in a circle" in found["NeuronBudget"].hint


def test_single_neurons_that_do_not_fit_are_refused() -> None:
    net = network(
        {"in": 8},
        {"a": 2, "b": 2},
        ("in", "a", np.full((2, 8), 63 * 20)),
        ("a", "b", np.ones((2, 2), int)),
    )
    assert refused(net, TINY, partition)["FanIn"].node == "a"


# Determinism.

DIGEST = """
import numpy as np
from tests.bss2 import test_routing as t
print(t.digest(t.route(t.FITS["205-256"]())), t.digest(*t.partition(t.chain(0, 300, 300, 10))))
"""


def digest(*executions: Execution) -> str:
    text: list[object] = []
    for e in executions:
        s = e.synapses
        arrays = [a.tolist() for a in (s.hemisphere, s.row, s.column, s.weight, s.label)]
        parts = (e.labels, e.rows, e.drivers, e.crossbar, e.facts)
        text += [e.sites, e.generators, arrays, *(list(p.items()) for p in parts)]
    return hashlib.sha256(repr(text).encode()).hexdigest()


def test_the_same_network_is_routed_the_same_way() -> None:
    found = set()
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        )
        found.add(done.stdout)
    assert len(found) == 1
    net = FITS["25-120-3"]()
    assert digest(route(net)) == digest(route(net))


# Parts.


def test_drivers_are_matched_to_groups() -> None:
    found = match([16, 16], [frozenset({0}), frozenset({31})], 32)
    assert found is not None
    assert sorted(found[0] + found[1]) == list(range(32))
    for group, drivers in enumerate(found):
        for driver in drivers:
            mask = mask_of(driver, frozenset({31 * group}))
            assert 31 * group & mask == driver & mask
            assert 31 * (1 - group) & mask != driver & mask
    assert match([17, 16], [frozenset({0}), frozenset({31})], 32) is None
    # Addresses that differ in one bit leave 16 drivers to each.
    assert match([17, 3], [frozenset({0}), frozenset({1})], 32) is None
    assert match([1], [frozenset({0, 31})], 32) == [[0]]


@pytest.mark.parametrize("what", ["label", "mask", "mode", "node", "address"])
def test_connectivity_sees_what_is_changed(what: str) -> None:
    net = FITS["25-120-3"]()
    good = route(net)
    s = good.synapses
    if what == "label":
        bad = replace(
            good,
            synapses=replace(s, label=np.where(np.arange(len(s.label)) == 7, s.label ^ 1, s.label)),
        )
    elif what == "mask":
        key = next(iter(good.drivers))
        bad = replace(good, drivers={**good.drivers, key: 31})
    elif what == "mode":
        key = next(iter(good.rows))
        bad = replace(good, rows={**good.rows, key: -good.rows[key]})
    elif what == "node":
        key = next(k for k in good.crossbar if k[1] < 8)
        bad = replace(good, crossbar={k: v for k, v in good.crossbar.items() if k != key})
    else:
        bad = replace(
            good, sites=(replace(good.sites[0], address=good.sites[0].address ^ 1), *good.sites[1:])
        )
    real = connectivity(bad, HICANN_X)
    same = all(
        np.array_equal(real.get((p.source, p.target), 0 * p.weights), p.weights)
        for p in net.projections
    )
    assert same == (what == "mask" and bad.drivers == good.drivers)


@st.composite
def networks(draw: st.DrawFn, columns: int) -> LogicalNetwork:
    sources: dict[str, Source] = {}
    cells: dict[str, Cells] = {}
    projections: list[tuple[str, str, Array]] = []
    for k in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["input", "input", "constant", "background"]))
        size = draw(st.integers(0, columns)) if kind == "input" else 1
        name = f"s{k}"
        sources[name] = Source(
            name, size, "input" if kind == "input" else "constant", kind == "background"
        )
    for k in range(draw(st.integers(1, 3))):
        circuits = draw(st.sampled_from([1, 1, 1, 2, 3]))
        cells[f"c{k}"] = Cells(
            f"c{k}", draw(st.integers(0, columns)), draw(st.booleans()), circuits
        )
    seed = draw(st.integers(0, 2**32 - 1))
    senders: list[Source | Cells] = [*sources.values()]
    senders += [c for c in cells.values() if c.spiking]
    for a in senders:
        for b in cells.values():
            if draw(st.booleans()):
                density, most = (
                    draw(st.sampled_from([0.1, 0.5, 1.0])),
                    draw(st.sampled_from([1, 63, 200])),
                )
                seed += 1
                projections.append((a.name, b.name, weights(seed, b.size, a.size, density, most)))
    return network(sources, cells, *projections)


@pytest.mark.parametrize("chip", [TINY, SMALL], ids=lambda chip: chip.name)
def test_any_network_is_right_or_refused(chip: Chip) -> None:
    counts = {"routed": 0, "refused": 0}

    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    @given(networks(chip.columns))
    def run(net: LogicalNetwork) -> None:
        try:
            execution = route(net, chip)
        except NotRouted as error:
            counts["refused"] += 1
            short = [p for p in error.problems if not p.need > p.limit]
        else:
            short = []
            counts["routed"] += 1
            check(execution, net, chip, slow=True)
        assert not short

    run()
    assert counts["routed"] > 20
    assert counts["refused"] > 5


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(networks(SMALL.columns))
def test_any_network_in_parts_is_right_or_refused(net: LogicalNetwork) -> None:
    try:
        executions = partition(net, SMALL)
    except NotRouted:
        return
    used = [p for p in net.projections if p.weights.any()]
    check_parts(executions, replace(net, projections=tuple(used)), SMALL)
