"""Which synapse drivers serve which groups of sources, and by what addresses.

A driver of number i accepts address r if ``(r & mask) == (i & mask)``. It can serve a group if a
mask accepts all addresses of the group and none of another group on its bus.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from snnir.targets.bss2.chips import ADDRESSES

Addresses = frozenset[int]


def mask_of(driver: int, group: Iterable[int]) -> int:
    """Return the mask with most bits with which a driver accepts all addresses of a group."""
    differ = 0
    for address in group:
        differ |= driver ^ address
    return ~differ & (ADDRESSES - 1)


def serves(driver: int, group: Addresses, others: Sequence[Addresses]) -> bool:
    """Whether a driver can take the events of a group and no others."""
    mask = mask_of(driver, group)
    return all((address ^ driver) & mask for other in others for address in other)


def match(
    demands: Sequence[int], groups: Sequence[Addresses], drivers: int
) -> list[list[int]] | None:
    """Return the drivers of each group, as many as it demands, or None if there are not enough.

    A largest bipartite matching by augmenting paths; drivers that can serve few are taken first.
    """
    if sum(demands) > drivers:
        return None
    able = [
        [d for d in range(drivers) if serves(d, group, [*groups[:g], *groups[g + 1 :]])]
        for g, group in enumerate(groups)
    ]
    if any(len(a) < n for a, n in zip(able, demands, strict=True)):
        return None
    choice = [sum(d in a for a in able) for d in range(drivers)]
    able = [sorted(a, key=lambda d: (choice[d], d)) for a in able]
    owner: dict[int, int] = {}

    def take(group: int, seen: set[int]) -> bool:
        for driver in able[group]:
            if driver in seen:
                continue
            seen.add(driver)
            if driver not in owner or (owner[driver] != group and take(owner[driver], seen)):
                owner[driver] = group
                return True
        return False

    for group, demand in enumerate(demands):
        for _ in range(demand):
            if not take(group, set()):
                return None
    return [sorted(d for d in owner if owner[d] == g) for g in range(len(demands))]


def free_addresses(taken: Addresses, number: int) -> Iterator[tuple[int, ...]]:
    """Yield addresses for groups that may have any, those that differ in many bits first.

    Args:
        taken: Addresses of other groups on the bus.
        number: How many are wanted.
    """
    if number == 0:
        yield ()
        return

    def distance(addresses: tuple[int, ...]) -> tuple[int, int]:
        pairs = [*itertools.combinations(addresses, 2), *itertools.product(addresses, taken)]
        apart = [(a ^ b).bit_count() for a, b in pairs] or [0]
        return -min(apart), -sum(apart)

    if number <= 2:
        candidates = list(itertools.permutations(range(ADDRESSES), number))
        yield from sorted((c for c in candidates if not taken & set(c)), key=distance)[:150]
        return
    # Codes of distance 3 (4 words) and 2 (16 words), then words as far apart as can be.
    codes = [(0, 28, 7, 27), tuple(a for a in range(ADDRESSES) if a.bit_count() % 2 == 0)]
    for code in codes:
        moved = [tuple(a ^ by for a in code if a ^ by not in taken) for by in range(ADDRESSES)]
        yield from (m[:number] for m in sorted(moved, key=distance) if len(m) >= number)
    for start in range(ADDRESSES):
        words = [start]
        while len(words) < number:
            rest = [a for a in range(ADDRESSES) if a not in words and a not in taken]
            if not rest:
                break
            known = [*words, *sorted(taken)]
            words.append(max(rest, key=lambda a: min((a ^ w).bit_count() for w in known)))
        if len(words) == number and start not in taken:
            yield tuple(words)
