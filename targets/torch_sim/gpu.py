"""Scans on a GPU: calling the Triton kernels of a network."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pathlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from snnir.c_build import cache_folder
from snnir.network import Step

#: Neurons that one program of the GPU carries through time.
LANES = 128


class NoTriton(RuntimeError):
    """The Triton kernels cannot run here."""


def interpreted() -> bool:
    """Return whether Triton runs its kernels in Python, on tensors of the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@lru_cache(maxsize=64)
def module(source: str) -> ModuleType:
    """Return the kernels; Triton reads them from a file.

    Raises:
        NoTriton: If triton is not installed, or there is no GPU and no interpreter.
    """
    if importlib.util.find_spec("triton") is None:
        raise NoTriton("triton is not installed")
    if not torch.cuda.is_available() and not interpreted():
        raise NoTriton("there is no GPU (TRITON_INTERPRET=1 runs the kernels in Python)")
    name = f"snnir_kernels_{hashlib.sha256(source.encode()).hexdigest()[:32]}"
    path = cache_folder() / f"{name}.py"
    if not path.is_file() or path.read_text(encoding="utf-8") != source:
        aside = pathlib.Path(f"{path}.{os.getpid()}")
        aside.write_text(source, encoding="utf-8")
        os.replace(aside, path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise NoTriton(f"{path} cannot be read")
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


class TritonScan:
    """Scans in Triton; the same calls as `Eager`."""

    def __init__(self, step: Step, kernels: ModuleType) -> None:
        self.step = step
        self._scan = getattr(kernels, f"{step.name}_scan")
        self._back = getattr(kernels, f"{step.name}_back")

    def launch(self, kernel: Any, tensors: Sequence[Tensor], size: Any, flags: Any) -> None:
        """Run a kernel on every neuron of every sample."""
        steps, lanes, neurons = size
        # Without the option, products and sums would be fused and rounded once.
        options = {} if interpreted() else {"enable_fp_fusion": False}
        kernel[(-(-lanes // LANES),)](
            *tensors, steps, lanes, neurons, *flags, BLOCK=LANES, **options
        )

    def arrays(self, x: Tensor, params: Sequence[Tensor]) -> tuple[Any, list[Tensor], list[int]]:
        """Return [steps, lanes, neurons], the parameters as arrays, and which of them vary."""
        shape = x.shape[2:]
        each = [int(p.numel() != 1) for p in params]
        made = [
            (p.expand(shape) if many else p.reshape(1)).detach().float().contiguous()
            for p, many in zip(params, each, strict=True)
        ]
        return (len(x), x[0].numel(), shape.numel()), made, each

    def forward(
        self, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor],
        keep: bool,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:  # fmt: skip
        """Scan over time; see `Eager.forward`."""
        xs = [x.contiguous() for x in inputs]
        own = [v.float().clone(memory_format=torch.contiguous_format) for v in states]
        size, arrays, each = self.arrays(xs[0], params)
        outputs = [torch.empty_like(xs[0]) for _ in range(self.step.outputs)]
        history = [torch.empty_like(xs[0]) if keep else v for v in own]
        tensors = [*xs, *outputs, *own, *arrays, *history]
        self.launch(self._scan, tensors, size, [keep, *each])
        return outputs, own, history if keep else []

    def backward(
        self, inputs: Sequence[Tensor], history: Sequence[Tensor], params: Sequence[Tensor],
        g_outputs: Sequence[Tensor], g_states: Sequence[Tensor],
        g_traces: Sequence[Tensor | None] = (), wanted: Sequence[bool] = (),
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor | None]]:  # fmt: skip
        """Scan backwards over time; see `Eager.backward`. Traces have no gradient here."""
        xs = [x.contiguous() for x in inputs]
        size, arrays, each = self.arrays(xs[0], params)
        own = [g.clone(memory_format=torch.contiguous_format) for g in g_states]
        made = [torch.empty_like(x) for x in xs]
        totals = [torch.empty_like(xs[0][0]) for _ in params]
        kept = [h.contiguous() for h in history]
        tensors = [*xs, *kept, *arrays, *(g.contiguous() for g in g_outputs), *made, *own, *totals]
        self.launch(self._back, tensors, size, each)
        g_params = [
            total.sum_to_size(p.shape).to(p.dtype) if want else None
            for total, p, want in zip(totals, params, wanted, strict=True)
        ]
        return made, own, g_params
