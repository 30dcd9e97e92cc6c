"""All placements of a few neurons, without the heuristics that come first."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from snnir.targets.bss2.chips import HICANN_X, Chip
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.network import Cells, LogicalNetwork, Source
from snnir.targets.bss2.routing import exhaustive, realisation
from snnir.targets.bss2.routing import route as routing
from snnir.targets.bss2.routing.canonical import canonical
from snnir.targets.bss2.routing.connectivity import connectivity
from snnir.targets.bss2.routing.demand import flatten
from snnir.targets.bss2.routing.problems import NotRouted
from snnir.targets.bss2.routing.row_shares import Pattern, RowShares, Split
from tests.bss2 import as_json, brute
from tests.bss2.checker import check
from tests.bss2.random_nets import few_neurons, network, tiny, weights


def made(net: LogicalNetwork, chip: Chip) -> Execution | None:
    """Return the execution of the search alone; its registers are right."""
    demand = flatten(net)
    arrangement = exhaustive.arrange(demand, chip)
    if arrangement is None:
        return None
    found = realisation.realise(demand, arrangement, chip)
    assert found is not None
    found = canonical(found, chip)
    wanted = {(p.source, p.target): p.weights for p in net.projections if p.weights.any()}
    real = connectivity(found, chip)
    assert real.keys() == wanted.keys()
    assert all(np.array_equal(real[pair], wanted[pair]) for pair in wanted)
    assert check(as_json.artefact(net, [found], chip), chip) == []
    return found


@pytest.mark.parametrize(
    ("chip", "neurons", "joined", "most"),
    [(tiny(2), 2, 2, 12), (tiny(2), 4, 2, 6), (tiny(4), 2, 4, 32), (tiny(4), 3, 4, 16)],
)
def test_search_alone_agrees_with_another(chip: Chip, neurons: int, joined: int, most: int) -> None:
    verdicts = []
    for seed in range(100, 140):
        net = few_neurons(seed, chip, neurons, 1 + seed % most)
        verdicts.append(brute.solve(net, chip, joined) is not None)
        assert (made(net, chip) is not None) == verdicts[-1], seed
    assert 3 <= sum(verdicts) <= 37, sum(verdicts)


def loop(size: int, circuits: int = 1) -> LogicalNetwork:
    """Return neurons that all excite all, and inhibit themselves."""
    matrix = np.full((size, size), 20) - 40 * np.eye(size, dtype=np.int64)
    return network([], [Cells("y", size, circuits=circuits)], {("y", "y"): matrix})


def test_neurons_of_a_population_may_have_different_circuits() -> None:
    """One neuron has too many inputs for one circuit; for all there is no room for two."""
    chip = tiny(2)
    matrix = np.ones((3, 12), np.int64)
    matrix[1:, 8:] = 0
    net = network([Source("x", 12)], [Cells("y", 3)], {("x", "y"): matrix})
    found = routing.route(net, chip)
    assert sorted(len(site.circuits) for site in found.sites) == [1, 1, 2]


def test_channels_may_come_by_several_buses() -> None:
    """A weight of 8 synapses in one column, on a chip whose buses have two rows each."""
    net = network([Source("x", 1)], [Cells("y", 1)], {("x", "y"): np.array([[63 * 7 + 5]])})
    found = made(net, tiny(4))
    assert found is not None
    assert len(found.labels["x", 0]) == 4
    assert sorted(found.synapses.weight.tolist()) == [5, *[63] * 7]


@pytest.mark.parametrize(("sources", "fine"), [(1, True), (2, False)])
def test_generators(sources: int, fine: bool) -> None:
    """One for each bus, of one source: it has one on all buses where it has synapses."""
    names = [f"one{i}" for i in range(sources)]
    net = network(
        [Source(name, 1, "constant", background=True) for name in names],
        [Cells("y", 2)],
        {(name, "y"): np.array([[63 * 8 // sources], [-63 * 8 // sources]]) for name in names},
    )
    demand = flatten(net)
    arrangement = exhaustive.arrange(demand, tiny(4))
    assert arrangement is not None
    found = realisation.realise(demand, arrangement, tiny(4))
    assert (found is not None) == fine
    if found is not None:
        assert not found.labels
        assert sorted(one.bus for one in found.generators) == list(range(8))
        assert made(net, tiny(4)) is not None


def test_any_neuron_may_get_more_circuits() -> None:
    """Also one that is looked at late: for 3 synapses of another neuron, on a bus of two rows."""
    net = network([Source("x", 8)], [Cells("y", 2)],
                  {("x", "y"): np.array([[1] * 8, [0] * 8]),
                   ("y", "y"): np.array([[0, 0], [63 * 3, 0]])})  # fmt: skip
    found = made(net, tiny(4))
    assert found is not None
    assert [len(site.circuits) for site in found.sites] == [1, 2]


def test_neurons_may_be_on_all_buses() -> None:
    """Each sends two synapses to the first, which has no other circuit on a bus of two rows."""
    matrix = np.zeros((4, 4), np.int64)
    matrix[0] = 63 * 2
    found = made(network([], [Cells("y", 4)], {("y", "y"): matrix}), tiny(4))
    assert found is not None
    assert {tiny(4).event_output(site.circuits[0]) for site in found.sites} == {0, 1, 2, 3}


def test_refusals_of_a_few_neurons_say_what_lacks() -> None:
    net = network([Source("x", 12)], [Cells("y", 4)], {("x", "y"): np.ones((4, 12), np.int64)})
    with pytest.raises(NotRouted, match=r"8 neuron circuits are needed \(y 4 x 2\)"):
        routing.route(net, tiny(2))


def test_least_circuits_are_kept() -> None:
    found = made(loop(2, circuits=3), tiny(4))
    assert found is not None
    assert all(len(site.circuits) >= 3 for site in found.sites)


def test_neurons_that_nobody_hears() -> None:
    net = network([Source("x", 2)], [Cells("y", 3, spiking=False)],
                  {("x", "y"): np.array([[1, -1], [0, 0], [70, 2]])})  # fmt: skip
    assert made(net, tiny(2)) is not None


def test_large_networks_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhaustive, "_Arranger", None)
    rng = np.random.default_rng(0)
    many = loop(exhaustive.MOST_NEURONS + 1)
    wide = network([Source("x", 64)], [Cells("y", 1)], {("x", "y"): weights(rng, 1, 64)})
    for net in (many, wide, network([], [], {})):
        assert exhaustive.arrange(flatten(net), HICANN_X) is None


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    net = network([Source("x", 16)], [Cells("y", 12)],
                  {("x", "y"): weights(rng, 12, 16), ("y", "y"): weights(rng, 12, 12)})  # fmt: skip
    monkeypatch.setattr(exhaustive, "MOST_WORK", 5000)
    arranger = exhaustive._Arranger(flatten(net), tiny(16, 2))
    assert arranger.run() is None
    assert 5000 < arranger.steps + arranger.shares.work < 10000


def serves(
    splits: tuple[Split, ...], patterns: dict[int, Pattern], needs: dict[brute.Unit, brute.Demand]
) -> bool:
    """Whether neurons find cells, on a chip of two rows a bus: by counting."""
    units = {("y", n): n for n in patterns}
    for unit, n in units.items():
        top, bottom, _ = patterns[n]
        for sign, need in enumerate((needs[unit].excitatory, needs[unit].inhibitory)):
            rows = [(abs(2 * sign - e), abs(2 * sign - f)) for e, f in splits]
            cells = [top * e + bottom * f for e, f in rows]
            for bus, there in enumerate(cells):
                if sum(k for u, k in need.items() if units.get(u) == bus) > there:
                    return False
            if sum(cells) < sum(need.values()):
                return False
    return True


def test_splits_are_those_of_counting() -> None:
    """For two neurons of given patterns: against all splits of all rows."""
    chip = tiny(4)
    every = list(product([(e, f) for e in range(3) for f in range(3)], repeat=4))
    verdicts = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        net = few_neurons(seed, chip, 2, 1 + seed)
        columns = [((1, 0), (0, 1), (1, 1), (2, 1))[int(rng.integers(4))] for _ in range(2)]
        patterns = {n: (*columns[n], n) for n in range(2)}
        needs = brute.demands(net)
        found = RowShares(flatten(net), chip).splits(patterns)
        assert (found is not None) == any(serves(s, patterns, needs) for s in every), seed
        assert found is None or serves(tuple(found), patterns, needs), seed
        verdicts.append(found is not None)
    assert 2 <= sum(verdicts) <= 10, verdicts


def test_blocks_are_laid_side_by_side() -> None:
    chip = tiny(8)
    patterns = ((3, 1, 0), (1, 3, 0), (2, 2, 1), (0, 2, -1), (1, 0, 2))
    found = exhaustive.lay(chip, patterns)
    assert found is not None
    circuits = [c for block in found for c in block]
    assert len(set(circuits)) == len(circuits) == 15
    buses = [chip.event_output(block[0]) % 4 for block in found]
    assert buses[0] == buses[1]
    assert len({buses[0], buses[2], buses[4]}) == 3
    for (top, bottom, _), block in zip(patterns, found, strict=True):
        assert sum(c < 8 for c in block) == top
        assert len(block) == top + bottom
        assert len({c % 8 // 4 for c in block}) == 1
        assert brute._connected(block, 8)


@pytest.mark.parametrize(
    "patterns",
    [
        ((1, 1, 0), (1, 1, 0)),  # one column of two has a bus of its own
        ((2, 0, 0),),  # columns 0 and 1 are in different halves
        ((1, 0, 0), (1, 0, 0)),
        ((1, 0, 0), (0, 1, 1), (1, 1, 2)),
    ],
)
def test_what_cannot_be_laid(patterns: tuple[Pattern, ...]) -> None:
    assert exhaustive.lay(tiny(2), patterns) is None
