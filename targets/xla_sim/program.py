"""The command line of an emitted folder; copied into it after the engine."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnir.folder_program import (
    check_record,
    command_line,
    read_inputs,
    read_lasting,
    write_results,
)
from snnir.folder_weights import read_weights
from snnir.network import Model, Step
from snnir.targets.xla_sim.host import Mesh, Simulator, TooFewDevices, as_given
from snnir.targets.xla_sim.stages import Program, precision

# What the part of the folder's file before this one defines.
MODEL = Model((), {}, {}, {})
STEPS: dict[str, Step] = {}
KERNELS: dict[str, Any] = {}
EXACT = True
MESH: tuple[int, int] | None = None
LASTING: dict[str, tuple[tuple[int, ...], str]] = {}
WEIGHTS, EXPORTED = "weights.safetensors", "forward.jax_export"


def whole(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors of whole numbers that shape the program: delays per element."""
    delays = [unit for unit in MODEL.units.values() if unit.kind == "delay"]
    names = [unit.tensors["steps"] for unit in delays if "steps" in unit.tensors]
    return {name: tensors[name] for name in names}


def load(mesh: tuple[int, int] | None = MESH) -> Simulator:
    """Return the network with the weights beside this file.

    Args:
        mesh: Parts of the batch and of the neurons to spread over as many devices; None for one.
    """
    tensors = read_weights(pathlib.Path(__file__).parent / WEIGHTS)
    constants = whole(tensors)
    program = Program(MODEL, STEPS, KERNELS, constants)
    rest = {name: value for name, value in tensors.items() if name not in constants}
    try:
        return Simulator(program, rest, EXACT, None if mesh is None else Mesh(*mesh))
    except TooFewDevices as problem:
        raise SystemExit(str(problem)) from None


def exported(
    inputs: dict[str, Any], lasting: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return outputs and what lasts by the exported program.

    It needs nothing of this file but its weights, and where what lasts starts.
    """
    from jax import export

    net = load()
    data = (pathlib.Path(__file__).parent / EXPORTED).read_bytes()
    kept: dict[str, Any] = {}
    with precision(net.wide):
        program = export.deserialize(bytearray(data))
        given = {name: jnp.asarray(x) for name, x in inputs.items()}
        if LASTING:
            outputs, kept = program.call(net.tensors, net.low, given, net.started(lasting))
        else:
            outputs = program.call(net.tensors, net.low, given)
    return {name: np.asarray(y) for name, y in outputs.items()}, kept


def recordable() -> list[str]:
    """Return every name that can be recorded."""
    units = MODEL.units.values()
    values = [*MODEL.inputs, *(name for unit in units for name in unit.results)]
    held = [unit for unit in units if unit.kind != "random"]
    return values + [f"{unit.name}:{key}" for unit in held for key in unit.initial]


def main() -> None:
    """Run the network on a file."""
    parser = command_line(str(__doc__), bool(LASTING))
    parser.add_argument("--exported", action="store_true", help=f"run {EXPORTED}; no records")
    arguments = parser.parse_args()
    check_record(arguments.record, recordable())
    given = read_inputs(arguments.input, MODEL.inputs)
    inputs = {name: x.astype(MODEL.dtype) for name, x in given.items()}
    before = read_lasting(arguments.lasting, LASTING) if LASTING else {}
    records: dict[str, Any] = {}
    sums: dict[str, float] = {}
    if arguments.exported:
        if arguments.record:
            raise SystemExit("the exported program has outputs only")
        outputs, kept = exported(inputs, before)
    else:
        net = load()
        outputs, records, sums = net.run(inputs, arguments.record, lasting=before)
        kept = net.lasting()
    lasting = as_given(kept, LASTING)
    write_results(arguments.output, outputs, records, sums, lasting=lasting)
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}), jax.default_backend())
