"""Printing a network as a JAX program, exporting it, and making it live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import export

from snnir import folder_program, folder_weights, network
from snnir.dynamics.surrogate import surrogate
from snnir.embedding import function_sources, module_body
from snnir.ir.graph import Graph
from snnir.network import Model, Step
from snnir.network_build import NetworkBuilder
from snnir.network_source import JAX, helper_sources, literal, live_names, steps_source
from snnir.targets.xla_sim import engine, host, kernels, program
from snnir.targets.xla_sim.engine import Program, precision
from snnir.targets.xla_sim.host import Mesh, Simulator, forward, needs_wide
from snnir.targets.xla_sim.target import DETACH, XlaTarget, mesh_shape
from snnir.tensors import Tensor

_HEAD = '''\
"""A spiking network as a JAX program, written by snnir.

    from model import load
    net = load()                             # with the weights beside this file
    outputs, records, spikes = net.run({{name: x}})    # x: [time, batch, *shape]

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE[:STATE] ...] [--exported]

Needs jax and NumPy. Beside it lie the same network as an exported program for any number of steps
and samples (forward.jax_export: `jax.export.deserialize`) and its StableHLO as text. {exact}
The network is at the end of this file; the rest is the same for every network.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import pathlib
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf, nan
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

Array = Any
HIGHEST = lax.Precision.HIGHEST
'''

_EXACT = {
    True: "Every\noperation rounds once, in the order written.",
    False: "Products\nand sums may be rounded together (exact=false).",
}
_RULE = "\n\n# ---- {} " + "-" * 60 + "\n\n"


@dataclass(frozen=True)
class Source:
    """A network in the form the engine runs, and as text."""

    target: XlaTarget
    builder: NetworkBuilder
    model: Model

    @classmethod
    def of(cls, graph: Graph, target: XlaTarget) -> Source:
        """Return the source of a verified, discretised graph."""
        chosen = surrogate(target.surrogate)
        builder = NetworkBuilder(graph, target.precision, chosen, DETACH[target.detach_reset])
        return cls(target, builder, builder.model())

    def tensors(self) -> Mapping[str, Tensor]:
        """Return every tensor by `node.attribute`."""
        return self.builder.tensors

    def constants(self) -> dict[str, Any]:
        """Return the delays per element, which shape the program."""
        names = [u.tensors["steps"] for u in self.model.units.values() if "steps" in u.tensors]
        return {name: self.builder.tensors[name].numpy() for name in names}

    def arrays(self) -> dict[str, Any]:
        """Return the other tensors."""
        fixed = self.constants()
        return {n: np.array(t.numpy()) for n, t in self.tensors().items() if n not in fixed}

    def steps_source(self) -> str:
        """Return the step programs as Python source."""
        builder = self.builder
        return steps_source(builder.programs, builder.surrogate, builder.detach, JAX)

    def live(self) -> Program:
        """Return the network, ready to be traced."""
        found: dict[str, Step] = {}
        own = {
            "jnp": jax.numpy, "guard": kernels.guard,
            "mul": kernels.mul, "div": kernels.div, "fma": kernels.fma,
        }  # fmt: skip
        names: dict[str, Any] = live_names(found) | own
        exec(compile(self.steps_source(), "<steps>", "exec"), names)
        return Program(self.model, found, vars(kernels), self.constants())

    def simulator(self) -> Simulator:
        """Return the network on the devices that were asked for."""
        shape = self.mesh()
        mesh = None if shape is None else Mesh(*shape)
        return Simulator(self.live(), self.arrays(), self.target.exact, mesh)

    def mesh(self) -> tuple[int, int] | None:
        """Return the parts of batch and neurons, None for one device."""
        return mesh_shape(self.target.mesh) if self.target.mesh else None

    def exported(self) -> export.Exported:
        """Return the forward pass from rest, for any number of steps and samples."""
        live = self.live()
        with precision(needs_wide(live)):
            time, batch = export.symbolic_shape("T, B")
            spec = jax.ShapeDtypeStruct
            tensors = {name: spec(x.shape, x.dtype) for name, x in self.arrays().items()}
            low = spec((), np.dtype("float32")) if self.target.exact else None
            kind = np.dtype(self.model.dtype)
            inputs = {n: spec((time, batch, *s), kind) for n, s in self.model.inputs.items()}
            jitted = jax.jit(partial(forward, live))
            platforms = ("cpu", "cuda", "tpu")
            return export.export(jitted, platforms=platforms)(tensors, low, inputs)

    def program(self) -> str:
        """Return `model.py`."""
        used = {unit.function for unit in self.model.units.values() if unit.kind == "op"}
        fused = helper_sources(self.builder.programs.values())
        names = {*used, "guard", "mul", "div", *(["fma"] if fused else [])}
        sources = function_sources(kernels, names)
        body = module_body(program)
        parts = [
            _HEAD.format(exact=_EXACT[self.target.exact]),
            _RULE.format("running"),
            "\n\n".join(module_body(part) for part in (network, engine)),
            _RULE.format("stateless ops"),
            "\n\n\n".join(sources),
            _RULE.format("from NumPy"),
            module_body(host),
            _RULE.format("the network: step programs"),
            "\n\n\n".join([*fused, ""]),
            "STEPS: dict[str, Step] = {}\n\n",
            self.steps_source(),
            _RULE.format("the network: nodes"),
            f"MODEL = {literal(self.model)}\n",
            f"KERNELS = {{{', '.join(f'{name!r}: {name}' for name in sorted(used))}}}\n",
            f"EXACT = {self.target.exact}\n",
            f"MESH = {self.mesh()}\n",
            _RULE.format("from the command line"),
            module_body(folder_program),
            "\n\n",
            module_body(folder_weights),
            "\n\n",
            body[body.index('WEIGHTS, EXPORTED = "') :],
            '\n\nif __name__ == "__main__":\n    main()\n',
        ]
        return "".join(parts)
