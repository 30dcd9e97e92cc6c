"""The schema of the artefact: examples pass, and every range that is left fails."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from snnir.targets.bss2.schema import SCHEMA, schema_text
from tests.bss2.example import example, matrices

jsonschema = pytest.importorskip("jsonschema", reason="the extra `test` has it")

VARIANTS: list[dict[str, Any]] = [
    {},
    {"recurrent": True},
    {"split": True},
    {"merged": True},
    {"constant": "host"},
    {"constant": "background"},
    {"recurrent": True, "split": True, "merged": True, "constant": "background", "seed": 3},
]


def valid(artefact: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(artefact))


def full() -> dict[str, Any]:
    found = example(recurrent=True, constant="background")
    made: dict[str, Any] = json.loads(json.dumps(found))
    return made


def place(artefact: Any, path: str) -> tuple[Any, Any]:
    """Return what holds the value at a path like `executions.0.id`, and its key there."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        artefact = artefact[part]
    return artefact, last


def test_the_schema_is_one_and_its_text_is_the_same() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(schema_text()) == SCHEMA


@pytest.mark.parametrize("variant", VARIANTS)
def test_examples_pass(variant: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(example(**variant))))


E0 = "executions.0"
NEURON = f"{E0}.neurons.0"
#: Every number: where it is, what is just out of range below and above (None: no limit there).
RANGES: list[tuple[str, Any, Any]] = [
    ("meta.speedup", 0, None),
    ("meta.step_ticks", 0, None),
    ("meta.latency_ticks", 0, None),
    ("meta.gain", 0, None),
    ("global.i_synin_gm.0", -1, 1023),
    ("global.i_synin_gm.1", -1, 1023),
    ("global.synapse_dac_bias", -1, 1023),
    ("populations.0.size", 0, None),
    ("populations.0.shape.0", 0, None),
    ("populations.1.size", 0, 2),
    ("populations.1.start_ticks", -1, None),
    ("populations.1.period_ticks", 0, None),
    (f"{E0}.id", -1, None),
    (f"{E0}.clocks.fast", -1, 16),
    (f"{E0}.clocks.slow", -1, 16),
    (f"{NEURON}.index", -1, None),
    (f"{NEURON}.circuits.0", -1, 512),
    (f"{NEURON}.address", -1, 256),
    (f"{NEURON}.leak", -1, 256),
    (f"{NEURON}.reset", -1, 256),
    (f"{NEURON}.threshold", -1, 256),
    (f"{NEURON}.tau_mem", 0, None),
    (f"{NEURON}.tau_syn.0", 0, None),
    (f"{NEURON}.tau_syn.1", 0, None),
    (f"{NEURON}.membrane_capacitance", 0, 64),
    (f"{NEURON}.refractory_time", -1, None),
    (f"{NEURON}.refractory_count", -1, 256),
    (f"{NEURON}.holdoff_count", -1, 16),
    (f"{E0}.events.0.index", -1, None),
    (f"{E0}.events.0.labels.0", -1, 2**16),
    (f"{E0}.background.0.bus", -1, 8),
    (f"{E0}.background.0.label", -1, 2**14),
    (f"{E0}.background.0.period_ticks", 0, 2**16),
    (f"{E0}.background.0.start_ticks", -1, None),
    (f"{E0}.background.0.index", -1, None),
    (f"{E0}.rows.0.0", -1, 2),
    (f"{E0}.rows.0.1", -1, 256),
    (f"{E0}.drivers.0.0", -1, 2),
    (f"{E0}.drivers.0.1", -1, 128),
    (f"{E0}.drivers.0.2", -1, 32),
    (f"{E0}.synapses.hemisphere.0", -1, 2),
    (f"{E0}.synapses.row.0", -1, 256),
    (f"{E0}.synapses.column.0", -1, 256),
    (f"{E0}.synapses.weight.0", 0, 64),
    (f"{E0}.synapses.label.0", -1, 64),
    (f"{E0}.crossbar.0.0", -1, 20),
    (f"{E0}.crossbar.0.1", -1, 12),
    (f"{E0}.crossbar.0.2", -1, 2**14),
    (f"{E0}.crossbar.0.3", -1, 2**14),
    (f"{E0}.projections.0.pre.0", -1, None),
    (f"{E0}.projections.0.post.0", -1, None),
]


@pytest.mark.parametrize(("path", "below", "above"), RANGES)
def test_ranges(path: str, below: Any, above: Any) -> None:
    for bad in (below, above, "1"):
        if bad is not None:
            artefact = full()
            holder, key = place(artefact, path)
            assert holder[key] != bad
            holder[key] = bad
            assert not valid(artefact), bad
    for good in (below + 1, *([] if above is None else [above - 1])):
        artefact = full()
        holder, key = place(artefact, path)
        holder[key] = good
        assert valid(artefact), good


def numbers(value: Any, path: str = "") -> list[str]:
    """Paths of all numbers, the first of each list only."""
    if isinstance(value, dict):
        return [p for key, item in value.items() for p in numbers(item, f"{path}.{key}")]
    if isinstance(value, list) and value and isinstance(value[0], list | dict):
        return [p for index in range(len(value)) for p in numbers(value[index], f"{path}.{index}")]
    if isinstance(value, list):
        return [p for index, item in enumerate(value[:4]) for p in numbers(item, f"{path}.{index}")]
    return [path[1:]] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_no_number_is_left_out() -> None:
    """What RANGES names, by kind; the rest are numbers that may be anything."""

    def kind(path: str) -> str:
        parts = path.split(".")
        repeated = ("neurons", "populations", "events", "rows", "drivers", "crossbar",
                    "projections", "inputs", "outputs")  # fmt: skip
        for at, part in enumerate(parts):
            if part in repeated and at + 1 < len(parts):
                parts[at + 1] = "*"
        lists = ("labels", "shape", "pre", "post", "circuits", "hemisphere", "row", "column")
        for name in (*lists, "offset", "factor", "weight", "label"):
            if len(parts) > 1 and parts[-2] == name:
                parts[-1] = "*"
        return ".".join(parts)

    tested = {kind(path) for path, _, _ in RANGES}
    free = {"populations.*.offset.*", "populations.*.factor.*"}
    free |= {"executions.0.projections.*.weight.*", "inputs.*.shape.*", "outputs.*.shape.*"}
    assert {kind(path) for path in numbers(full())} == tested | free


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        ("schema", "snnir.bss2/2"),
        ("meta.chip", "hicann-x-v1"),
        ("meta.source_sha256", "abc"),
        ("meta.gain_nominal", 1),
        ("populations.0.kind", "neurons"),
        ("populations.2.spiking", None),
        ("outputs.0.kind", "voltage"),
        (f"{NEURON}.refractory_clock", "medium"),
        (f"{NEURON}.circuits", []),
        (f"{NEURON}.circuits", [3, 3]),
        (f"{NEURON}.tau_syn", [5.0]),
        (f"{NEURON}.membrane_capacitance", 1.5),
        (f"{E0}.rows.0.2", "disabled"),
        (f"{E0}.rows.0", [0, 1]),
        (f"{E0}.drivers.0", [0, 1, 2, 3]),
        (f"{E0}.crossbar.0", [0, 0, 0]),
        (f"{E0}.events.0.labels", []),
        (f"{E0}.projections.0.weight.0", 0),
        (f"{E0}.projections.0.weight.0", 1.5),
        ("executions", []),
    ],
)
def test_other_faults(path: str, bad: Any) -> None:
    artefact = full()
    holder, key = place(artefact, path)
    holder[key] = bad
    assert not valid(artefact)


def records(value: Any, path: str = "") -> list[str]:
    """Paths of all records but the report, the first of each list only."""
    if isinstance(value, list):
        return records(value[0], f"{path}.0") if value else []
    if not isinstance(value, dict):
        return []
    return [path[1:]] + [p for key, item in value.items() for p in records(item, f"{path}.{key}")]


@pytest.mark.parametrize("path", [p for p in records(full()) if p != "report"])
def test_records_have_their_fields_and_no_other(path: str) -> None:
    def record(artefact: Any) -> Any:
        holder, key = place({"": artefact}, f".{path}" if path else "")
        return holder[key]

    for name in list(record(full())):
        artefact = full()
        del record(artefact)[name]
        assert not valid(artefact), name
    artefact = full()
    record(artefact)["extra"] = 1
    assert not valid(artefact)


def reached(execution: dict[str, Any], label: int, source: int) -> dict[tuple[int, int], int]:
    """Follow an event through the crossbar, drivers and rows: weight by (hemisphere, column)."""
    modes = {(h, r): 1 if mode == "excitatory" else -1 for h, r, mode in execution["rows"]}
    found: dict[tuple[int, int], int] = {}
    for start, output, mask, target in execution["crossbar"]:
        if start != source or label & mask != target or output >= 8:
            continue
        for hemisphere, driver, compared in execution["drivers"]:
            on = (hemisphere, driver % 4) == divmod(output, 4)
            if not on or (label >> 6 & 31) & compared != driver // 4 & compared:
                continue
            for h, row, column, weight, own in zip(*execution["synapses"].values(), strict=True):
                if h == hemisphere and row // 2 == driver and own == label & 63:
                    found[h, column] = found.get((h, column), 0) + modes[h, row] * weight
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_examples_connect_what_they_say(variant: dict[str, Any]) -> None:
    artefact = example(**variant)
    for number, execution in enumerate(artefact["executions"]):
        owner = {
            c: (n["population"], n["index"]) for n in execution["neurons"] for c in n["circuits"]
        }
        sent = [
            (e["population"], e["index"], 8 + (label >> 14), label & 0x3FFF)
            for e in execution["events"]
            for label in e["labels"]
        ]
        sent += [
            (g["population"], g["index"], 12 + g["bus"], g["label"])
            for g in execution["background"]
        ]
        for n in execution["neurons"]:
            output = n["circuits"][0] % 256 // 32
            sent.append((n["population"], n["index"], output, n["address"] | output << 8))
        expected = matrices(artefact, number)
        found = {pair: np.zeros_like(matrix) for pair, matrix in expected.items()}
        for name, pre, source, label in sent:
            for (h, column), weight in reached(execution, label, source).items():
                target, post = owner[h * 256 + column]
                found[name, target][post, pre] += weight
        for pair, matrix in expected.items():
            np.testing.assert_array_equal(found[pair], matrix)
