"""The files of a folder: program, codelets, weights as they lie on tiles, plan, emulator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import BinaryIO

import numpy as np

from snnir import c_build, folder_program
from snnir.artefact import populations
from snnir.embedding import folder_source
from snnir.ir.graph import Graph, Value
from snnir.network_source import literal
from snnir.target import Content
from snnir.targets.ipu import command, emulator
from snnir.targets.ipu.codelets import codelets
from snnir.targets.ipu.emulator import Facts, Port
from snnir.targets.ipu.host import Host, count_handle, state_handle, value_handle
from snnir.targets.ipu.memory import Field
from snnir.targets.ipu.plan import Plan
from snnir.targets.ipu.standin import build, registry, standin_files
from snnir.targets.ipu.structure import INPUT

#: The part of host programs that is the same for all.
NETWORK_FILES = ("network.hpp", "network.cpp")
#: What `model.py` is made of.
EMBEDDED = (c_build, registry, build, emulator, folder_program)


def program_files(plan: Plan, title: str) -> dict[str, Content]:
    """Return what the emulator and the SDK need: sources and weights."""
    host = Host(plan, title)
    source = host.text()
    stages = [plan.vertices(s.name) for s in plan.stages.values() if s.kind != INPUT]
    own = files("snnir.targets.ipu")
    found: dict[str, Content] = {
        "host.cpp": source.encode(),
        "codelets.cpp": codelets(stages, title).encode(),
        **{name: own.joinpath("cpp", name).read_bytes() for name in NETWORK_FILES},
        "plan.schema.json": own.joinpath("plan.schema.json").read_bytes(),
        "tiles.bin": partial(write_tiles, host.constants),
    }
    return found | {name: text.encode() for name, text in standin_files().items()}


def write_tiles(constants: Sequence[Field], file: BinaryIO) -> None:
    """Write the fields one after the other, as the host program reads them."""
    for item in constants:
        file.write(np.ascontiguousarray(item.content()).data)


def model_source(facts: Facts) -> str:
    """Return `model.py`, which emulates the program beside it."""
    return folder_source(command, EMBEDDED, f"\n\nFACTS = {literal(facts)}\n")


def facts_of(plan: Plan, graph: Graph) -> Facts:
    """Return what callers of a program have to know."""
    structure = plan.structure

    def port(name: str, value: Value, handle: str = "") -> Port:
        """Return how a value leaves or enters the program."""
        ctype = plan.streams[structure.root(value)].ctype
        return Port(name, tuple(graph.signals[value].shape), ctype, handle)

    inputs = tuple(port(name, Value(name)) for name in graph.inputs)
    outputs = tuple(port(name, value) for name, value in graph.outputs.items())
    records = {
        name: port(name, Value(name), value_handle(plan, value))
        for name, value in plan.recordable_values().items()
    }
    for name, (stage, item) in plan.recordable_states().items():
        shape = tuple(graph.signal(stage).shape)
        kind = "int64" if item.ctype == "int" else ""
        records[name] = Port(name, shape, item.ctype, state_handle(plan, name), kind)
    counted = {name: count_handle(plan, name) for name in populations(graph)}
    real = "float64" if structure.layout.real == "double" else "float32"
    return Facts(inputs, outputs, records, counted, real, graph.record_offset)
