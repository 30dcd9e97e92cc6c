"""Step programs as plain data, for JSON records in files and generated code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics, Let, State
from snnir.errors import error
from snnir.streams import Kind


def dynamics_record(step: LifStep | Dynamics) -> dict[str, Any]:
    """Return a step as data that JSON holds without loss."""
    if isinstance(step, LifStep):
        return {"lif": step.attributes()}
    return {
        "program": step.name,
        "inputs": list(step.inputs),
        "params": [list(pair) for pair in step.params],
        "states": [[state.name, _operand(state.initial)] for state in step.states],
        **({"lasting": sorted(step.lasting)} if step.lasting else {}),
        "body": [[let.target, let.op, [_operand(a) for a in let.args]] for let in step.body],
        "updates": [[name, _operand(value)] for name, value in step.updates],
        "outputs": [[name, str(kind)] for name, kind in step.outputs],
        "dtype": step.dtype,
    }


def _operand(value: str | float) -> Any:
    """Return a name as it is and a number as its exact hexadecimal form."""
    return value if isinstance(value, str) else {"number": float(value).hex()}


def dynamics_from(record: Mapping[str, Any]) -> LifStep | Dynamics:
    """Return the step of a record.

    Raises:
        SnnirError: SNN102 if the record is not one, SNN201 or SNN302 if its step is not valid.
    """
    try:
        if "lif" in record:
            return LifStep(**record["lif"])
        lasting = [str(name) for name in list(record.get("lasting", []))]
        unknown = set(lasting) - {str(name) for name, _ in record["states"]}
        if unknown:
            raise ValueError(f"there is no state {min(unknown)!r} to last")
        program = Dynamics(
            name=str(record["program"]),
            inputs=tuple(map(str, record["inputs"])),
            params=tuple((str(name), str(unit)) for name, unit in record["params"]),
            states=tuple(
                State(str(name), _value(value), str(name) in lasting)
                for name, value in record["states"]
            ),
            body=tuple(
                Let(str(target), str(op), tuple(_value(a) for a in args))
                for target, op, args in record["body"]
            ),
            updates=tuple((str(name), _value(value)) for name, value in record["updates"]),
            outputs=tuple((str(name), Kind(kind)) for name, kind in record["outputs"]),
            dtype=str(record["dtype"]),
        )
    except (KeyError, TypeError, ValueError) as failure:
        raise error("SNN102", f"a step record is damaged ({failure})") from None
    program.types()
    return program


def _value(value: Any) -> str | float:
    if isinstance(value, str):
        return value
    return float.fromhex(value["number"])
