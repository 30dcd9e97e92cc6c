"""The checker itself: it must read an artefact made by hand, and see every kind of fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snnir.targets.bss2.chips import HICANN_X, reaches
from tests.bss2.checker import check, differences, digest, matrices
from tests.bss2.flips import caught, flips
from tests.bss2.handmade import MATRICES, artefact, neuron
from tests.bss2.register_rules import NODES

Json = dict[str, Any]
Path = tuple[Any, ...]
FIRST, SECOND = ("executions", 0), ("executions", 1)
SYNAPSES = (*FIRST, "synapses")
HIDDEN, MERGED = (*FIRST, "neurons", 0), (*FIRST, "neurons", 1)
#: Stands for the removal of an element.
GONE = object()


def changed(*changes: tuple[Path, Any]) -> Json:
    """Return the artefact by hand with values set (or, with `GONE`, removed) at paths."""
    found = artefact()
    for path, value in changes:
        at: Any = found
        for step in path[:-1]:
            at = at[step]
        if value is GONE:
            del at[path[-1]]
        elif isinstance(at, list) and path[-1] == len(at):
            at.append(value)
        else:
            at[path[-1]] = value
    return found


def test_artefact_by_hand_is_right() -> None:
    assert check(artefact()) == []
    assert differences(matrices(artefact()), MATRICES) == []


def test_nodes_are_those_of_the_chip() -> None:
    assert sum(map(len, NODES.values())) == 76
    for entry in range(20):
        assert NODES[entry] == {output for output in range(12) if reaches(entry, output)}


FAULTS: dict[str, tuple[list[tuple[Path, Any]], str]] = {
    # What is said of the whole
    "schema": ([(("schema",), "snnir.bss2/2")], "schema"),
    "chip": ([(("meta", "chip"), "other")], "chip other"),
    "latency": ([(("meta", "latency_ticks"), 0)], "latency_ticks 0"),
    "gain": ([(("meta", "gain"), 0)], "not all positive"),
    "gm": ([(("global", "i_synin_gm"), [500, 900])], "global"),
    "dac": ([(("global", "synapse_dac_bias"), 20)], "global"),
    "same name": ([(("populations", 1, "name"), "in")], "of that name"),
    "kind": ([(("populations", 0, "kind"), "inputs")], "kind inputs"),
    "shape": ([(("populations", 0, "shape"), [2])], "size 3 and shape [2]"),
    "scale": ([(("populations", 2, "factor"), [1.0])], "not a list of 2 numbers"),
    "nan": ([(("populations", 2, "offset", 0), float("nan"))], "not a list of 2 numbers"),
    "constant": ([(("populations", 1, "period_ticks"), 0)], "period 0"),
    "end": ([(("inputs", 0, "population"), "nobody")], "no population nobody"),
    "end shape": ([(("outputs", 0, "shape"), [3])], "shape [3] of 2 channels"),
    "end kind": ([(("outputs", 0, "kind"), "spikes")], "spikes of out"),
    "input of neurons": ([(("inputs", 0, "population"), "one")], "x: "),
    "id": ([((*SECOND, "id"), 2)], "has id 2"),
    # Neurons
    "missing": ([((*SECOND, "neurons", 1), GONE)], "('out', 1): computed nowhere"),
    "twice": ([((*SECOND, "neurons", 2), neuron("hid", 0, [9]))], "('hid', 0): computed 2 times"),
    "unknown": ([((*SECOND, "neurons", 2), neuron("out", 2, [9]))], "no such neuron"),
    "circuit twice": ([((*MERGED, "circuits"), [296, 297, 40, 5])], "circuit 5: used 2 times"),
    "circuit in a block twice": ([((*MERGED, "circuits"), [296, 297, 40, 40])], "used 2 times"),
    "no circuit": ([((*HIDDEN, "circuits"), [])], "circuits []"),
    "beyond the chip": ([((*HIDDEN, "circuits"), [512])], "circuits [512]"),
    "apart": ([((*MERGED, "circuits"), [296, 298, 40])], "not connected"),
    "diagonal": ([((*MERGED, "circuits"), [296, 41])], "not connected"),
    "row end": ([((*MERGED, "circuits"), [255, 256])], "both sides of the middle"),
    "row end, far": ([((*MERGED, "circuits"), [255, 254, 384])], "not connected"),
    "middle": ([((*MERGED, "circuits"), [127, 128])], "both sides of the middle"),
    "address": ([((*HIDDEN, "address"), 256)], "address 256"),
    "spiking": ([((*HIDDEN, "threshold"), None)], "does not spike"),
    "not spiking": ([((*SECOND, "neurons", 0, "threshold"), 120)], "does not spike"),
    "leak": ([((*HIDDEN, "leak"), 49)], "leak 49"),
    "reset": ([((*HIDDEN, "reset"), 161)], "reset 161"),
    "threshold": ([((*HIDDEN, "threshold"), 221)], "threshold 221"),
    "tau_mem": ([((*HIDDEN, "tau_mem"), 0.4)], "tau_mem 0.4"),
    "tau_syn": ([((*HIDDEN, "tau_syn"), [5, 31])], "tau_syn [5, 31]"),
    "capacitance": ([((*HIDDEN, "membrane_capacitance"), 0)], "membrane_capacitance 0"),
    "refractory_time": ([((*HIDDEN, "refractory_time"), 1.9)], "is not 16 cycles"),
    "refractory_count": ([((*HIDDEN, "refractory_count"), 18)], "is not 18 cycles"),
    "refractory_clock": ([((*HIDDEN, "refractory_clock"), "slow")], "is not 16 cycles"),
    "clock": ([((*FIRST, "clocks", "fast"), 5)], "is not 16 cycles"),
    "scale of a clock": ([((*FIRST, "clocks", "slow"), 16)], "clock slow"),
    "long": ([((*HIDDEN, "refractory_time"), 33)], "refractory_time 33"),
    "holdoff": ([((*HIDDEN, "holdoff_count"), 17)], "holdoff of 17"),
    "even holdoff": ([((*HIDDEN, "holdoff_count"), 2)], "odd numbers only"),
    # Order of executions, sources
    "order": (
        [((*FIRST, "id"), 1), ((*SECOND, "id"), 0), (("executions",), None)],
        "('hid', 0): read before it is computed",
    ),
    "sent and computed": (
        [((*FIRST, "events", 3), {"population": "hid", "index": 0, "labels": [5]})],
        "computed here, and its events are sent",
    ),
    "unknown source": ([((*FIRST, "events", 0, "index"), 3)], "does not exist"),
    "silent source": (
        [(("outputs", 1), GONE), (("populations", 2, "spiking"), False)],
        "sends events and does not spike",
    ),
    # Registers
    "weight 0": ([((*SYNAPSES, "weight", 0), 0)], "weight outside"),
    "weight 64": ([((*SYNAPSES, "weight", 0), 64)], "weight outside"),
    "label 64": ([((*SYNAPSES, "label", 0), 64)], "label outside"),
    "row 256": ([((*SYNAPSES, "row", 0), 256)], "row outside"),
    "column 256": ([((*SYNAPSES, "column", 0), 256)], "column outside"),
    "lengths": ([((*SYNAPSES, "label", 8), 1)], "label is not a list of 8"),
    "real weight": ([((*SYNAPSES, "weight", 0), 1.5)], "weight is not a list"),
    "cell twice": ([((*SYNAPSES, "row", 3), 4), ((*SYNAPSES, "column", 3), 5)], "listed twice"),
    "mode": ([((*FIRST, "rows", 0, 2), "both")], "no such mode"),
    "both signs": ([((*FIRST, "rows", 7), [0, 4, "inhibitory"])], "listed 2 times"),
    "mask": ([((*FIRST, "drivers", 0, 2), 32)], "out of range"),
    "driver twice": ([((*FIRST, "drivers", 6), [0, 2, 31])], "listed 2 times"),
    "no node": ([((*FIRST, "crossbar", 0, 1), 5)], "does not exist"),
    "node twice": ([((*FIRST, "crossbar", 7), [0, 4, 0, 0])], "listed 2 times"),
    "node mask": ([((*FIRST, "crossbar", 0, 2), 1 << 14)], "out of range"),
    "event label": ([((*FIRST, "events", 0, "labels"), [1 << 16])], "out of range"),
    "no label": ([((*FIRST, "events", 0, "labels"), [])], "no labels"),
    "same label": ([((*FIRST, "events", 0, "labels"), [2])], "label of the host 2"),
    "period": ([((*FIRST, "background", 0, "period_ticks"), 249)], "period 249, not 250"),
    "start": ([((*FIRST, "background", 0, "start_ticks"), 12)], "starts at 12, not 12.5"),
    "long period": ([((*FIRST, "background", 0, "period_ticks"), 1 << 16)], "out of range"),
    "not constant": ([((*FIRST, "background", 0, "population"), "in")], "in is not a constant"),
    "generator": ([((*FIRST, "background", 0, "bus"), 8)], "out of range"),
    "undriven": ([((*SYNAPSES, "label", 0), 0)], "no event drives it"),
    "disabled": ([((*FIRST, "rows", 0), GONE)], "its row is disabled"),
    "nobody's": ([((*SYNAPSES, "column", 0), 6)], "its circuit is nobody's"),
    "moved": ([((*SYNAPSES, "column", 7), 40)], "hid[1] -> hid[0]: registers give 0, not 12"),
    "other source": ([((*SYNAPSES, "label", 0), 2)], "in[0] -> hid[0]"),
    "driven twice": (
        [((*FIRST, "events", 0, "labels"), [1, 0b11 << 11 | 1]), ((*FIRST, "crossbar", 4, 2), 0)],
        "several events drive it",
    ),
    "useless label": ([((*FIRST, "events", 0, "labels"), [1, 77])], "drives no synapse"),
    "not recorded": ([((*FIRST, "crossbar", 1), GONE)], "('hid', 0): its spikes reach 0 links"),
    "recorded twice": ([((*FIRST, "crossbar", 1, 1), 9)], "does not exist"),
    "sent back": ([((*FIRST, "crossbar", 7), [8, 8, 0, 0])], "goes back to the host"),
    "ambiguous": (
        [((*MERGED, "circuits"), [256 + 9, 9]), ((*MERGED, "address"), 3)],
        "link 0: label 3 is that of ('hid', 0) and of ('hid', 1)",
    ),
    # Lists for people
    "weight listed": ([((*FIRST, "projections", 0, "weight", 0), 11)], "registers give 10, not 11"),
    "not listed": ([((*FIRST, "projections", 1), GONE)], "one[0] -> hid[1]: registers give -30"),
    "zero listed": ([((*FIRST, "projections", 0, "weight", 0), 0)], "weight of zero"),
    "index listed": ([((*FIRST, "projections", 0, "pre", 0), 3)], "beyond the population"),
    "pair listed twice": ([((*FIRST, "projections", 0, "pre", 1), 0)], "a pair is listed twice"),
    "lists": ([((*FIRST, "projections", 0, "pre", 0), GONE)], "different lengths"),
    "listed twice": (
        [((*FIRST, "projections", 3), artefact()["executions"][0]["projections"][0])],
        "listed twice",
    ),
    "digest": ([((*FIRST, "digest"), "0" * 64)], "digest"),
    # Canonical form
    "loose mask": ([((*FIRST, "drivers", 0, 2), 30)], "mask 30, the tightest is 31"),
    "loose node": ([((*FIRST, "crossbar", 4, 2), 0)], "the tightest are"),
    "spare row": ([((*FIRST, "rows", 7), [0, 13, "excitatory"])], "without a synapse"),
    "spare driver": ([((*FIRST, "drivers", 6), [0, 3, 31])], "for no row"),
    "spare node": ([((*FIRST, "crossbar", 7), [2, 2, 0, 0])], "nothing of use"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_seen(name: str) -> None:
    changes, words = FAULTS[name]
    if name == "order":
        wrong_way = artefact()
        wrong_way["executions"].reverse()
        wrong = check(wrong_way)
    else:
        wrong = check(changed(*changes))
    assert any(words in text for text in wrong), wrong


def test_non_canonical_form_is_forgiven_on_demand() -> None:
    loose = changed(*FAULTS["loose mask"][0], *FAULTS["spare row"][0])
    assert check(loose, canonical=False) == []


@pytest.mark.slow
def test_every_flip_is_caught_without_a_digest() -> None:
    whole = artefact()
    missed = [text for text, flipped in flips(whole) if caught(whole, flipped) is None]
    assert missed == []
    assert check(whole) == []  # flips leave what they flip as it was
    assert whole == artefact()


def test_digest_is_that_of_the_registers() -> None:
    whole = artefact()
    for execution in whole["executions"]:
        execution["digest"] = digest(execution)
    assert check(whole) == []
    for text, flipped in flips(whole, most=5):
        assert digest(flipped["executions"][0]) != whole["executions"][0]["digest"] or (
            digest(flipped["executions"][1]) != whole["executions"][1]["digest"]
        ), text


def test_matrices_add_up_over_merged_columns_and_executions() -> None:
    whole = artefact()
    # hid[1] gets in[1] once more, at another of its columns.
    for name, value in zip(
        ("hemisphere", "row", "column", "weight", "label"), (0, 4, 41, 50, 2), strict=True
    ):
        whole["executions"][0]["synapses"][name].append(value)
    whole["executions"][0]["neurons"][1]["circuits"].append(41)
    assert matrices(whole)["in", "hid"].tolist() == [[10, -70, 0], [0, 54, 20]]
    assert np.array_equal(matrices(whole, HICANN_X)["hid", "out"], MATRICES["hid", "out"])


def test_matrices_of_a_pair_add_up_over_executions() -> None:
    whole = artefact()
    one, two = whole["executions"]
    two["neurons"].append({**one["neurons"][1], "circuits": [2, 3], "address": 9})
    del one["neurons"][1]
    two["synapses"] = {key: [*two["synapses"][key], value] for key, value in zip(
        ("hemisphere", "row", "column", "weight", "label"), (0, 1, 3, 8, 5), strict=True
    )}  # fmt: skip
    found = matrices(whole)
    assert found["hid", "hid"].tolist() == [[0, 0], [-8, 0]]
    assert found["in", "hid"].tolist() == [[10, -70, 0], [0, 0, 0]]
    one["neurons"].append(neuron("hid", 1, [40], address=7))
    assert matrices(whole)["hid", "hid"].tolist() == [[0, 12], [-8, 0]]


def test_recorded_events_drive_nothing_by_that() -> None:
    """The node to the host alone does not bring a neuron's events to synapses."""
    whole = changed(((*FIRST, "crossbar", 0), GONE))
    assert "hid[0] -> hid[1]: registers give 0, not 15" in " ".join(check(whole))
