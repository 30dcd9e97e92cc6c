"""Printing a network as a JAX program, exporting it, and making it live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax import export

from snnir import folder_program, folder_weights, network
from snnir.dynamics import fused
from snnir.dynamics.surrogate import surrogate
from snnir.embedding import function_sources, module_body
from snnir.ir.graph import Graph
from snnir.lasting import lasting_table
from snnir.network import Model, Step, lasting_shapes
from snnir.network_build import NetworkBuilder
from snnir.network_source import JAX, literal, live_names, steps_source
from snnir.targets.xla_sim import engine, host, kernels, learning, loops, program, stages
from snnir.targets.xla_sim.host import Mesh, Simulator, forward, needs_wide
from snnir.targets.xla_sim.stages import Program, precision, state_kind
from snnir.targets.xla_sim.target import DETACH, XlaTarget, mesh_shape
from snnir.tensors import Tensor

_HEAD = '''\
"""A spiking network as a JAX program, written by snnir.

    from model import load
    net = load()                             # with the weights beside this file
    outputs, records, spikes = net.run({{name: x}})    # x: [time, batch, *shape]

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE[:STATE]]...
        [--exported]{lasting}

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
from dataclasses import dataclass, field, replace
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

_LASTING = " [--lasting OUT.npz of an earlier run]"
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
        delays = [u for u in self.model.units.values() if u.kind == "delay"]
        names = [unit.tensors["steps"] for unit in delays if "steps" in unit.tensors]
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
            "snn_batch_sum": learning.snn_batch_sum,
        }  # fmt: skip
        names: dict[str, Any] = live_names(found) | own
        exec(compile(self.steps_source(), "<steps>", "exec"), names)
        functions = vars(kernels) | vars(learning)
        return Program(self.model, found, functions, self.constants())

    def simulator(self) -> Simulator:
        """Return the network on the devices that were asked for."""
        shape = self.mesh()
        mesh = None if shape is None else Mesh(*shape)
        return Simulator(self.live(), self.arrays(), self.target.exact, mesh)

    def mesh(self) -> tuple[int, int] | None:
        """Return the parts of batch and neurons, None for one device."""
        return mesh_shape(self.target.mesh) if self.target.mesh else None

    @cached_property
    def exported(self) -> export.Exported:
        """Return the forward pass from rest, for any number of steps and samples.

        It maps (tensors, low, inputs) to the outputs. Where something lasts, it takes that besides
        and gives it besides.
        """
        live = self.live()

        def run(tensors: Any, low: Any, inputs: Any, *lasting: Any) -> Any:
            outputs, kept = forward(live, tensors, low, inputs, 0, *lasting)
            return (outputs, kept) if kept else outputs

        with precision(needs_wide(live)):
            time, batch = export.symbolic_shape("T, B")
            spec = jax.ShapeDtypeStruct
            tensors = {name: spec(x.shape, x.dtype) for name, x in self.arrays().items()}
            low = spec((), np.dtype("float32")) if self.target.exact else None
            kind = np.dtype(self.model.dtype)
            inputs = {n: spec((time, batch, *s), kind) for n, s in self.model.inputs.items()}
            kept = {
                name: spec(shape, np.dtype(state_kind(live, live.model.units[node])))
                for name, shape in lasting_shapes(self.model).items()
                for node in [name.rpartition(":")[0]]
            }
            given = (tensors, low, inputs, kept) if kept else (tensors, low, inputs)
            return export.export(jax.jit(run), platforms=("cpu", "cuda", "tpu"))(*given)

    def called(self) -> set[str]:
        """Return the functions that the nodes call."""
        units = self.model.units.values()
        found = {unit.function for unit in units if unit.kind == "op"}
        found |= {"plastic_sum" for unit in units if unit.kind == "plastic"}
        found |= {"normalised" for u in units if u.kind == "plastic" and "total" in u.tensors}
        return found | {"uniform" for unit in units if unit.kind == "random"}

    def program(self) -> str:
        """Return `model.py`."""
        called, lasting = self.called(), lasting_table(self.builder.graph)
        words = {let.op for made in self.builder.programs.values() for let in made.body}
        helpers = function_sources(fused, {"snn_fma"}) if "fma" in words else []
        more = {"fma"} if helpers else set()
        names = {name for name in called if name in vars(kernels)}
        sources = function_sources(kernels, {*names, "guard", "mul", "div", "kept_apart", *more})
        learns = called - names | ({"snn_batch_sum"} if "batch_sum" in words else set())
        sources += [f"UNROLLED = {learning.UNROLLED}"] if "snn_batch_sum" in learns else []
        sources += function_sources(learning, learns)
        body = module_body(program)
        parts = [
            _HEAD.format(exact=_EXACT[self.target.exact], lasting=_LASTING if lasting else ""),
            _RULE.format("running"),
            "\n\n".join(module_body(part) for part in (network, stages, loops, engine)),
            _RULE.format("stateless ops"),
            "\n\n\n".join(sources),
            _RULE.format("from NumPy"),
            module_body(host),
            _RULE.format("the network: step programs"),
            "\n\n\n".join([*helpers, ""]),
            "STEPS: dict[str, Step] = {}\n\n",
            self.steps_source(),
            _RULE.format("the network: nodes"),
            f"MODEL = {literal(self.model)}\n",
            f"LASTING = {literal(lasting)}\n",
            f"KERNELS = {{{', '.join(f'{name!r}: {name}' for name in sorted(called))}}}\n",
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
