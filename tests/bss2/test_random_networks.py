"""Routed random networks, read back from their artefacts: exact, or refused for good reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from snnir.targets.bss2.chips import Chip
from snnir.targets.bss2.network import LogicalNetwork
from tests.bss2 import as_json
from tests.bss2.brute import Solution, smallest, solve
from tests.bss2.checker import check, differences, matrices
from tests.bss2.flips import caught, flips
from tests.bss2.random_nets import FAMILIES, Case, cases, few_neurons, tiny
from tests.bss2.realise import realise

Json = dict[str, Any]
partition = pytest.importorskip("snnir.targets.bss2.routing.partition").partition
routing = pytest.importorskip("snnir.targets.bss2.routing.route")
COUNTS = {make.__name__[1:]: count for make, count in FAMILIES.items()}
#: Part of a family that is routed, and that in one execution; all of the others.
ROUTED = {"tiny_mixed": (0.99, 0.98)}
#: Tiny chips, neurons on them, circuits that the search may join, and most channels.
TINY = [
    (tiny(2), 2, 2, 12),
    (tiny(2), 3, 2, 12),
    (tiny(2), 4, 2, 8),
    (tiny(4), 2, 4, 32),
    (tiny(4), 3, 4, 16),
    (tiny(4, 2), 2, 1, 12),
    (tiny(4, 2), 3, 1, 12),
    (tiny(8), 3, 1, 8),
]


def faults(found: Json, network: LogicalNetwork, chip: Chip) -> list[str]:
    """Return what is wrong with an artefact, also that it is of another network."""
    wanted = {(one.source, one.target): np.asarray(one.weights) for one in network.projections}
    return check(found, chip) + differences(matrices(found, chip), wanted)


def routed(case: Case) -> Json | None:
    """Return the artefact of a case, or None where it is refused."""
    try:
        executions = partition(case.network, case.chip)
    except routing.NotRouted:
        assert not case.fits, case.name
        return None
    return as_json.artefact(case.network, executions, case.chip)


@pytest.mark.slow
@pytest.mark.parametrize("family", COUNTS)
def test_networks_are_exact_or_refused(family: str) -> None:
    """500 networks in all; so many are not refused, and need no second execution."""
    executions = []
    for case in cases(family):
        found = routed(case)
        executions.append(0 if found is None else len(found["executions"]))
        if found is not None:
            assert faults(found, case.network, case.chip) == [], case.name
    any_way, at_once = ROUTED.get(family, (1.0, 1.0))
    assert np.mean(np.array(executions) > 0) >= any_way, executions
    assert np.mean(np.array(executions) == 1) >= at_once, executions


def sampled() -> Iterator[tuple[str, Json, Chip]]:
    """Yield artefacts of some cases of each family."""
    for family, count in COUNTS.items():
        for number, case in enumerate(cases(family)):
            if number % -(-count // 4) == 0:
                found = routed(case)
                if found is not None:
                    yield case.name, found, case.chip


@pytest.mark.slow
def test_every_flip_of_a_register_is_caught() -> None:
    """By the matrices or the rules alone, but for labels that another would do as well as.

    Those are seen by the digest only: the artefact with the flip works the same.
    """
    ways: Counter[tuple[str, str]] = Counter()
    for number, (name, found, chip) in enumerate(sampled()):
        large = len(found["executions"][0]["synapses"]["row"]) > 1000
        for text, flipped in flips(found, chip, most=1 if large else 4, seed=number):
            how = caught(found, flipped, chip)
            assert how is not None, (name, text)
            kind = text.split(", ")[0]
            ways[kind, how] += 1
            assert how == "check" or kind in ("event label", "address", "generator label"), text
    total = sum(ways.values())
    assert total > 1000
    assert sum(n for (_, how), n in ways.items() if how == "digest") < 0.1 * total, ways


def test_executions_are_the_same_at_every_call() -> None:
    for case in [*cases("small")][:5] + [*cases("tiny_block")][:5]:
        assert routed(case) == routed(case), case.name


def refused(network: LogicalNetwork, chip: Chip) -> bool:
    try:
        routing.route(network, chip)
    except routing.NotRouted:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(("chip", "neurons", "joined", "most"), TINY)
def test_verdicts_are_those_of_an_exhaustive_search(
    chip: Chip, neurons: int, joined: int, most: int
) -> None:
    """What some configuration realises is routed; what none does is refused."""
    verdicts: Counter[bool] = Counter()
    wrong = []

    def possible(network: LogicalNetwork) -> Solution | None:
        return solve(network, chip) or solve(network, chip, joined)

    for seed in range(60):
        network = few_neurons(seed, chip, neurons, 1 + seed % most)
        solution = possible(network)
        verdicts[solution is not None] += 1
        if solution is not None:
            proof = as_json.artefact(network, [realise(network, solution, chip)], chip)
            assert faults(proof, network, chip) == []
            if refused(network, chip):
                wrong.append(network)
        elif joined == chip.columns:  # all there are of a half: the search has joined any
            assert refused(network, chip), f"seed {seed}: routed, and impossible"
    if wrong:
        least = smallest(wrong[0], lambda one: refused(one, chip) and possible(one) is not None)
        pytest.fail(f"{len(wrong)} refused and possible, such as {least} as {possible(least)}")
    assert verdicts[True] >= 20, verdicts
    assert verdicts[False] >= 5, verdicts


def test_search_has_both_verdicts() -> None:
    """The comparison is at the border of what is possible."""
    verdicts = Counter(
        solve(few_neurons(seed, chip, 3, 1 + seed % 8), chip) is not None
        for chip in (tiny(2), tiny(4), tiny(4, 2))
        for seed in range(40)
    )
    assert min(verdicts[True], verdicts[False]) >= 20, verdicts
