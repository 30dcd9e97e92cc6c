"""The JSON Schema of `model.bss2.json`, format `snnir.bss2/1` (docs/bss2-format.md).

Every register has its range here. What a schema cannot say (that lists have equal length, that
what is named exists, which nodes of the crossbar there are) is the checker's.
"""

from __future__ import annotations

import json
from typing import Any

from snnir.targets.bss2.chips import (
    BACKGROUND_INPUTS,
    BUSES,
    HEMISPHERES,
    HICANN_X,
    LABELS,
    LINK_INPUTS,
    MOST_COUNT,
    MOST_PERIOD,
    MOST_SCALE,
    MOST_WEIGHT,
    NEURON_INPUTS,
    OUTPUTS,
)

#: The format's name and version.
NAME = "snnir.bss2/1"

_CAPMEM = 1022  # 1023 means off
_CADC = 255
_CAPACITANCE = 63
_HOLDOFF = 15
_CROSSBAR_LABEL = 2**14 - 1
_EVENT_LABEL = 2**16 - 1

Schema = dict[str, Any]


def _whole(low: int, high: int | None = None) -> Schema:
    return {"type": "integer", "minimum": low} | ({} if high is None else {"maximum": high})


def _number(low: float | None = None, high: float | None = None) -> Schema:
    found: Schema = {"type": "number"}
    if low is not None:
        found["minimum"] = low
    return found if high is None else found | {"maximum": high}


def _list(items: Schema, least: int = 0, **rules: Any) -> Schema:
    return {"type": "array", "items": items, "minItems": least, **rules}


def _pair(item: Schema) -> Schema:
    return _tuple(item, item)


def _tuple(*items: Schema) -> Schema:
    return {
        "type": "array",
        "prefixItems": list(items),
        "items": False,
        "minItems": len(items),
    }


def _record(**fields: Schema) -> Schema:
    """Every field is there, and no other."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


_POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0}
_TEXT: Schema = {"type": "string", "minLength": 1}
_INDEX = _whole(0)
_SHAPE = _list(_whole(1))
_POTENTIAL = _number(0, _CADC)

_META = _record(
    chip={"const": HICANN_X.name},
    model={"type": "string"},
    source_sha256={"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
    snnir={"type": "string"},
    speedup=_POSITIVE,
    step_ticks=_POSITIVE,
    latency_ticks=_whole(1),
    gain=_POSITIVE,
    gain_nominal={"type": "boolean"},
)

_GLOBAL = _record(i_synin_gm=_pair(_whole(0, _CAPMEM)), synapse_dac_bias=_whole(0, _CAPMEM))

_NAMED: Schema = {"name": _TEXT, "size": _whole(1), "shape": _SHAPE}
_POPULATION: Schema = {
    "oneOf": [
        _record(**_NAMED, kind={"const": "input"}),
        _record(
            **{**_NAMED, "size": {"const": 1}},
            kind={"const": "constant"},
            start_ticks=_number(0),
            period_ticks=_POSITIVE,
        ),
        _record(
            **_NAMED,
            kind={"const": "neurons"},
            spiking={"type": "boolean"},
            offset=_list(_number(), 1),
            factor=_list(_number(), 1),
        ),
    ]
}
_PORT: Schema = {"name": _TEXT, "population": _TEXT, "shape": _SHAPE}

_NEURON = _record(
    population=_TEXT,
    index=_INDEX,
    circuits=_list(_whole(0, HICANN_X.circuits - 1), 1, uniqueItems=True),
    address=_whole(0, 255),
    leak=_POTENTIAL,
    reset=_POTENTIAL,
    threshold={"anyOf": [_POTENTIAL, {"type": "null"}]},
    tau_mem=_POSITIVE,
    tau_syn=_pair(_POSITIVE),
    membrane_capacitance=_whole(1, _CAPACITANCE),
    refractory_time=_number(0),
    refractory_clock={"enum": ["fast", "slow"]},
    refractory_count=_whole(0, MOST_COUNT),
    holdoff_count=_whole(0, _HOLDOFF),
)

_SYNAPSES = _record(
    hemisphere=_list(_whole(0, HEMISPHERES - 1)),
    row=_list(_whole(0, HICANN_X.rows - 1)),
    column=_list(_whole(0, HICANN_X.columns - 1)),
    weight=_list(_whole(1, MOST_WEIGHT)),
    label=_list(_whole(0, LABELS - 1)),
)

_PROJECTION = _record(
    source=_TEXT,
    target=_TEXT,
    pre=_list(_INDEX),
    post=_list(_INDEX),
    weight=_list({"type": "integer", "not": {"const": 0}}),
)

_EXECUTION = _record(
    id=_INDEX,
    clocks=_record(fast=_whole(0, MOST_SCALE), slow=_whole(0, MOST_SCALE)),
    neurons=_list(_NEURON),
    events=_list(_record(population=_TEXT, index=_INDEX, labels=_list(_whole(0, _EVENT_LABEL), 1))),
    background=_list(
        _record(
            bus=_whole(0, BACKGROUND_INPUTS - 1),
            label=_whole(0, _CROSSBAR_LABEL),
            period_ticks=_whole(1, MOST_PERIOD),
            start_ticks=_whole(0),
            population=_TEXT,
            index=_INDEX,
        )
    ),
    rows=_list(
        _tuple(
            _whole(0, HEMISPHERES - 1),
            _whole(0, HICANN_X.rows - 1),
            {"enum": ["excitatory", "inhibitory"]},
        )
    ),
    drivers=_list(
        _tuple(
            _whole(0, HEMISPHERES - 1),
            _whole(0, BUSES * HICANN_X.drivers - 1),
            _whole(0, HICANN_X.drivers - 1),
        )
    ),
    synapses=_SYNAPSES,
    crossbar=_list(
        _tuple(
            _whole(0, NEURON_INPUTS + LINK_INPUTS + BACKGROUND_INPUTS - 1),
            _whole(0, OUTPUTS - 1),
            _whole(0, _CROSSBAR_LABEL),
            _whole(0, _CROSSBAR_LABEL),
        )
    ),
    projections=_list(_PROJECTION),
)

# Files made by hand may leave it out.
_EXECUTION["properties"]["digest"] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}

#: The schema, draft 2020-12.
SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": NAME,
    "$comment": "Times in microseconds, or ticks of 8 ns; potentials in LSB of the CADC.",
    **_record(
        schema={"const": NAME},
        meta=_META,
        **{"global": _GLOBAL},
        populations=_list(_POPULATION, 1),
        inputs=_list(_record(**_PORT)),
        outputs=_list(_record(**_PORT, kind={"enum": ["spikes", "membrane"]}), 1),
        executions=_list(_EXECUTION, 1),
        report={"type": "object"},
    ),
}


def schema_text() -> str:
    """Return the text of `schema.json`."""
    return json.dumps(SCHEMA, indent=1) + "\n"
