"""The canonical form of masks and of what is listed: one way to write what registers do.

A mask compares as many bits as it can: all those in which everything agrees that has to pass.
Any masks that work can be tightened to these without changing what reaches a synapse, so the form
costs a router nothing; and a mask with one bit flipped is either no longer of the form or changes
what passes. Nothing is listed that no event needs.
"""

from __future__ import annotations

import numpy as np

from tests.bss2.traffic import Ints, Json, Traffic


def common_bits(values: Ints, width: int) -> int:
    """Return a mask of the bits that are the same in all values."""
    differing = int(np.bitwise_or.reduce(values ^ values[0]))
    return ~differing & ((1 << width) - 1)


def form(execution: Json, traffic: Traffic) -> list[str]:
    """Complain of rows, drivers, nodes and labels without use, and of masks not as tight as can be."""
    return (
        _row_form(execution)
        + _driver_form(execution, traffic)
        + _node_form(traffic)
        + _label_form(traffic)
    )


def _row_form(execution: Json) -> list[str]:
    synapses = execution["synapses"]
    used = set(zip(synapses["hemisphere"], synapses["row"], strict=True))
    rows = {(row[0], row[1]) for row in execution["rows"]}
    drivers = {(driver[0], driver[1]) for driver in execution["drivers"]}
    wrong = [f"row {row}: enabled, without a synapse" for row in sorted(rows - used)]
    return wrong + [
        f"driver {driver}: takes events for no row"
        for driver in sorted(drivers - {(half, row // 2) for half, row in rows})
    ]


def _driver_form(execution: Json, traffic: Traffic) -> list[str]:
    hemisphere, row = traffic.synapses[:2]
    synapse = traffic.hits[:, 1]
    address = traffic.events.label[traffic.hit_events()] >> 6 & 31
    key = hemisphere[synapse] * 1024 + row[synapse] // 2
    order = np.argsort(key, kind="stable")
    keys, starts = np.unique(key[order], return_index=True)
    groups = np.split(address[order], starts[1:]) if keys.size else []
    taken = {(int(k) // 1024, int(k) % 1024): one for k, one in zip(keys, groups, strict=True)}
    wrong = []
    for half, driver, mask in execution["drivers"]:
        found = taken.get((half, driver))
        if found is None:
            wrong.append(f"driver {half, driver}: no event drives a synapse of it")
            continue
        tight = common_bits(np.append(found, driver // 4), 5)
        if mask != tight:
            wrong.append(f"driver {half, driver}: mask {mask}, the tightest is {tight}")
    return wrong


def _node_form(traffic: Traffic) -> list[str]:
    events, nodes, passed = traffic.events, traffic.nodes, traffic.passed
    used = np.zeros(len(passed), bool)
    used[traffic.hits[:, 0]] = True
    used |= nodes[passed[:, 1], 1] >= 8  # that only spikes go there is checked elsewhere
    wrong = []
    for number, (entry, output, mask, target) in enumerate(nodes.tolist()):
        labels = events.label[passed[used & (passed[:, 1] == number), 0]]
        if not labels.size:
            wrong.append(f"node {entry} to {output}: passes nothing of use")
            continue
        tight = common_bits(labels, 14)
        if (mask, target) != (tight, int(labels[0]) & tight):
            wrong.append(
                f"node {entry} to {output}: mask and target {mask, target}, "
                f"the tightest are {tight, int(labels[0]) & tight}"
            )
    return wrong


def _label_form(traffic: Traffic) -> list[str]:
    """Labels of the host and generators drive something."""
    driving = np.bincount(traffic.hit_events(), minlength=len(traffic.events.units))
    return [
        f"{origin} event of {unit}: drives no synapse"
        for unit, origin, n in zip(
            traffic.events.units, traffic.events.origins, driving, strict=True
        )
        if origin != "neuron" and n == 0
    ]
