"""Printing a network as a torch program, and making it live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from snnir import c_build, folder_program, network
from snnir.dynamics.fixed_point import BIAS
from snnir.dynamics.fused import snn_fma
from snnir.dynamics.surrogate import surrogate
from snnir.embedding import function_sources, module_body
from snnir.errors import error
from snnir.integers import gives_size
from snnir.ir.graph import Graph
from snnir.lasting import lasting_table
from snnir.network import Model, Step
from snnir.network_source import TORCH, helper_sources, literal, live_names, steps_source
from snnir.targets.torch_sim import (
    compiled,
    engine,
    gpu,
    holding,
    kernels,
    kit,
    layers,
    learning,
    loops,
    memory,
    program,
    scans,
    sparse,
)
from snnir.targets.torch_sim.build import Builder
from snnir.targets.torch_sim.c_kernels import c_source
from snnir.targets.torch_sim.c_loop_text import HEAD as LOOPS
from snnir.targets.torch_sim.engine import Network
from snnir.targets.torch_sim.scans import constant
from snnir.targets.torch_sim.target import DETACH, TorchTarget
from snnir.targets.torch_sim.triton_kernels import triton_source
from snnir.tensors import Tensor

_HEAD = '''\
"""A spiking network as a torch program, written by snnir.

    from model import load
    net = load()              # a torch.nn.Module with the weights beside this file
    y = net(x)                # x, y: [time, batch, *shape]; trainable, surrogate {surrogate}

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE[:STATE]]...{lasting}

Needs torch (and NumPy to read files). The kernels beside it are compiled at the first run where
there is a C compiler; without one, plain torch gives the same spikes. The first part of this file
is the network, the rest is the same for every network.
"""

from __future__ import annotations

import argparse
import ctypes
import difflib
import hashlib
import importlib.util
import json
import os
import pathlib
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import inf, nan, prod
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
'''

_LASTING = "\n        [--lasting OUT.npz of an earlier run]"
#: What runs networks, in the order of definition.
RUNNING = (scans, learning, holding, engine)
#: What uses the compiled kernels, in the order of definition.
TOOLS = (c_build, memory, compiled, sparse, layers, loops, gpu, kit)
_RULE = "\n\n# ---- {} " + "-" * 60 + "\n\n"
#: Kernel arguments that are synapses or biases, which training changes.
_SYNAPSES = {"weight", "values", "bias", "scale", "gamma", "beta"}


@dataclass(frozen=True)
class Source:
    """A network in the form the engine runs, and as text."""

    graph: Graph
    target: TorchTarget
    builder: Builder
    model: Model

    @classmethod
    def of(cls, graph: Graph, target: TorchTarget) -> Source:
        """Return the source of a verified, discretised graph."""
        chosen = surrogate(target.surrogate)
        builder = Builder(graph, target.precision, chosen, DETACH[target.detach_reset])
        return cls(graph, target, builder, builder.model())

    def trained(self) -> list[str]:
        """Return the names of the tensors that get gradients."""
        if self.target.trained == "none":
            return []
        units = self.model.units.values()
        neurons = {unit.name for unit in units if unit.kind == "neuron"}
        learned = {name for u in units if u.kind == "plastic" for name in u.tensors.values()}
        every = self.target.trained == "all"
        fixed = {*learned, *(facts.unit for facts in self.model.whole.values())}
        fixed |= {f"{name}.scale" for name in self.graph.nodes if gives_size(self.graph, name)}
        return [
            name
            for name in self.builder.tensors
            if name not in fixed
            and (every or _is_trained(name, name.rpartition(".")[0] in neurons))
        ]  # fmt: skip

    def tensors(self) -> Mapping[str, Tensor]:
        """Return every tensor by `node.attribute`."""
        return self.builder.tensors

    def kernels(self) -> str:
        """Return the C source."""
        builder = self.builder
        scans = c_source(builder.separate(), builder.surrogate, builder.detach, self.joined())
        return "\n".join([scans, *([LOOPS, *builder.loops] if builder.loops else [])])

    def joined(self) -> set[str]:
        """Return the step programs of populations that a linear layer comes before."""
        units = self.model.units
        linear = {name for name, unit in units.items() if unit.function == "linear"}
        return {
            unit.function
            for unit in units.values()
            if unit.kind == "neuron" and not linear.isdisjoint(unit.operands)
        }

    def gpu_kernels(self) -> str:
        """Return the Triton source."""
        builder = self.builder
        return triton_source(builder.separate(), builder.surrogate, builder.detach)

    def steps_source(self) -> str:
        """Return the step programs as Python source."""
        builder = self.builder
        return steps_source(builder.programs, builder.surrogate, builder.detach, TORCH)

    def steps(self) -> dict[str, Step]:
        """Return the step programs, live."""
        found: dict[str, Step] = {}
        own = {"torch": torch, "constant": constant, "snn_fma": snn_fma}
        names: dict[str, Any] = live_names(found) | own
        exec(compile(self.steps_source(), "<steps>", "exec"), names)
        return found

    def network(self) -> Network:
        """Return the module.

        Raises:
            SnnirError: SNN503 if the backend asked for is not there.
        """
        try:
            tools = kit.Kit(self.kernels(), self.target.backend, self.gpu_kernels())
        except (c_build.NoCompiler, gpu.NoTriton) as problem:
            raise error(
                "SNN503", f"target 'torch': {problem}", hint="use backend=auto or eager"
            ) from None
        net = Network(
            self.model, self.steps(), vars(kernels), self.builder.torch_tensors(),
            self.trained(), tools,
        )  # fmt: skip
        net.graph = self.graph  # what `snnir.update` compares with
        try:
            net.to(self.target.device)
        except (RuntimeError, AssertionError) as problem:
            said = str(problem).splitlines()[0]
            where = f"device '{self.target.device}'"
            raise error("SNN503", f"target 'torch': {where}: {said}") from None
        return net

    def program(self) -> str:
        """Return `model.py`."""
        used = {unit.function for unit in self.model.units.values() if unit.kind == "op"}
        lasting = lasting_table(self.graph)
        parts = [
            _HEAD.format(surrogate=self.target.surrogate, lasting=_LASTING if lasting else ""),
            _RULE.format("running"),
            module_body(network),
            "\n\n",
            "\n\n".join(module_body(part) for part in RUNNING),
            _RULE.format("compiled kernels"),
            "\n\n".join(module_body(part) for part in TOOLS),
            _RULE.format("stateless ops"),
            "\n\n\n".join(function_sources(kernels, {*used, "centred", "SparseSums"})),
            _RULE.format("the network: step programs"),
            "\n\n\n".join([*helper_sources(self.builder.programs.values()), ""]),
            "STEPS: dict[str, Step] = {}\n\n",
            self.steps_source(),
            _RULE.format("the network: nodes"),
            f"MODEL = {literal(self.model)}\n",
            f"LASTING = {literal(lasting)}\n",
            f"TRAINED = {literal(self.trained())}\n",
            f"KERNELS = {{{', '.join(f'{name!r}: {name}' for name in sorted(used))}}}\n",
            _RULE.format("from the command line"),
            module_body(folder_program),
            "\n\n",
            _main_source(),
        ]
        return "".join(parts)


def _is_synapse(name: str) -> bool:
    return name.rpartition(".")[2] in _SYNAPSES


def _is_trained(name: str, in_neuron: bool) -> bool:
    """Return whether a tensor is a weight, or a bias that quantisation moved into a neuron."""
    return name.rpartition(".")[2].startswith(BIAS) if in_neuron else _is_synapse(name)


def _main_source() -> str:
    body = module_body(program)
    return body[body.index('WEIGHTS = "') :] + '\n\nif __name__ == "__main__":\n    main()\n'
