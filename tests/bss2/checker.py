"""An independent reader of the BrainScaleS-2 artefact.

Written from `docs/bss2-format.md` and the vendor's coordinates alone: it shares no code with what
writes or emulates artefacts, only the sizes of a chip. `matrices` rebuilds what the registers
connect; `check` says everything that is wrong with an artefact.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

from snnir.targets.bss2.chips import HICANN_X, Chip
from tests.bss2.form_rules import form
from tests.bss2.neuron_rules import neuron_rules, order_rules, population_rules
from tests.bss2.register_rules import ranges, register_rules
from tests.bss2.traffic import Ints, Json, Traffic, Unit, traffic_of

Matrices = dict[tuple[str, str], Ints]

#: Keys of an execution that its registers come from; of neurons, where they are.
DIGITAL = ("clocks", "events", "background", "rows", "drivers", "synapses", "crossbar")
NEURON_DIGITAL = ("population", "index", "circuits", "address", "refractory_clock",
                  "refractory_count", "holdoff_count")  # fmt: skip


def sizes(artefact: Json) -> dict[str, int]:
    """Return the size of each population."""
    return {one["name"]: one["size"] for one in artefact["populations"]}


def execution_matrices(artefact: Json, execution: Json, chip: Chip = HICANN_X) -> Matrices:
    """Return what the registers of one execution connect: see `matrices`."""
    return _sums(artefact, execution, traffic_of(execution, chip), chip)


def _sums(artefact: Json, execution: Json, traffic: Traffic, chip: Chip) -> Matrices:
    size = sizes(artefact)
    first = dict(zip(size, np.cumsum([0, *size.values()]), strict=False))
    total = sum(size.values())
    owner = np.full(2 * chip.columns, -1)
    for neuron in execution["neurons"]:
        owner[neuron["circuits"]] = first[neuron["population"]] + neuron["index"]
    hemisphere, _, column, weight, _ = traffic.synapses
    sources = np.array([first[name] + i for name, i in traffic.events.units], np.int64)
    synapse = traffic.hits[:, 1]
    source = sources[traffic.hit_events()]
    target = owner[hemisphere[synapse] * chip.columns + column[synapse]]
    kept = target >= 0  # `check` complains of the others
    signed = (traffic.signs * weight)[synapse]
    place = (target * total + source)[kept]
    flat = np.bincount(place, signed[kept], minlength=total * total)
    whole = flat.reshape(total, total).astype(np.int64)
    found: Matrices = {}
    names = list(size)
    for pre in names:
        for post in names:
            rows, columns = slice(first[post], first[post] + size[post]), first[pre]
            part = whole[rows, columns : columns + size[pre]]
            if part.any():
                found[pre, post] = part.copy()
    return found


def matrices(artefact: Json, chip: Chip = HICANN_X) -> Matrices:
    """Return the signed sums of weights that one event of a source adds to each neuron.

    By (source, target) population: [target, source] over their full sizes and all executions.
    Pairs that nothing connects are absent.
    """
    found: Matrices = {}
    for execution in artefact["executions"]:
        for pair, part in execution_matrices(artefact, execution, chip).items():
            found[pair] = found[pair] + part if pair in found else part
    return {pair: part for pair, part in found.items() if part.any()}


def digest(execution: Json) -> str:
    """Return the SHA-256 of all that the registers of an execution come from."""
    parts = {name: execution[name] for name in DIGITAL}
    parts["neurons"] = [
        {name: neuron[name] for name in NEURON_DIGITAL} for neuron in execution["neurons"]
    ]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def listed(artefact: Json, execution: Json) -> tuple[Matrices, list[str]]:
    """Return the matrices that the lists of an execution claim, and what is wrong with the lists."""
    size = sizes(artefact)
    found: Matrices = {}
    wrong: list[str] = []
    for one in execution["projections"]:
        pair = (one["source"], one["target"])
        name = f"projection {pair[0]} -> {pair[1]}"
        if pair[0] not in size or pair[1] not in size:
            wrong.append(f"{name}: no such population")
            continue
        if pair in found:
            wrong.append(f"{name}: listed twice")
            continue
        pre, post, weight = (np.array(one[key], np.int64) for key in ("pre", "post", "weight"))
        if not pre.shape == post.shape == weight.shape:
            wrong.append(f"{name}: lists of different lengths")
            continue
        if ((pre < 0) | (pre >= size[pair[0]]) | (post < 0) | (post >= size[pair[1]])).any():
            wrong.append(f"{name}: an index beyond the population")
            continue
        if not weight.all():
            wrong.append(f"{name}: a weight of zero")
        if np.unique(post * size[pair[0]] + pre).size < pre.size:
            wrong.append(f"{name}: a pair is listed twice")
        found[pair] = np.zeros((size[pair[1]], size[pair[0]]), np.int64)
        np.add.at(found[pair], (post, pre), weight)
    return found, wrong


def differences(found: Matrices, wanted: Matrices) -> list[str]:
    """Return where two sets of matrices differ, at most one complaint for each pair."""
    wrong = []
    for pair in sorted({*found, *wanted}):
        some = found.get(pair, wanted.get(pair))
        assert some is not None
        nothing = np.zeros_like(some)
        have, want = found.get(pair, nothing), wanted.get(pair, nothing)
        if have.shape != want.shape:
            wrong.append(f"{pair[0]} -> {pair[1]}: sizes {have.shape} and {want.shape}")
            continue
        where = np.argwhere(have != want)
        if where.size:
            post, pre = (int(x) for x in where[0])
            wrong.append(
                f"{pair[0]}[{pre}] -> {pair[1]}[{post}]: registers give {have[post, pre]}, "
                f"not {want[post, pre]} ({len(where)} differ)"
            )
    return wrong


def digest_fits(execution: Json) -> bool:
    """Whether an execution's digest, if it has one, is that of its registers."""
    return execution.get("digest") in (None, digest(execution))


def _execution_rules(artefact: Json, execution: Json, chip: Chip, canonical: bool) -> list[str]:
    wrong = ranges(execution, chip) + neuron_rules(artefact, execution, chip)
    claims, faults = listed(artefact, execution)
    wrong += faults
    here: set[Unit] = {(one["population"], one["index"]) for one in execution["neurons"]}
    wrong += order_rules(artefact, execution, here)
    if wrong:
        return wrong  # what follows relies on indices that exist
    traffic = traffic_of(execution, chip)
    wrong += register_rules(execution, traffic, chip)
    if canonical:
        wrong += form(execution, traffic)
    wrong += differences(_sums(artefact, execution, traffic, chip), claims)
    if not digest_fits(execution):
        wrong.append("digest: the registers are not those it was made of")
    return wrong


def check(artefact: Json, chip: Chip = HICANN_X, *, canonical: bool = True) -> list[str]:
    """Return everything that is wrong with an artefact; nothing if it is right.

    Args:
        artefact: See `docs/bss2-format.md`.
        chip: Its chip.
        canonical: Whether masks must be as tight as they can be, see `form_rules`.
    """
    wrong = population_rules(artefact, chip)
    if wrong:
        return wrong
    for number, execution in enumerate(artefact["executions"]):
        if execution["id"] != number:
            wrong.append(f"execution {number}: has id {execution['id']}")
        wrong += [
            f"execution {number}: {text}"
            for text in _execution_rules(artefact, execution, chip, canonical)
        ]
    return wrong
