"""`--target torch`: a trainable module, and a folder that runs with torch alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from snnir.artefact import populations
from snnir.dynamics.surrogate import DEFAULT, surrogate
from snnir.errors import Diagnostic, error
from snnir.ir.graph import Graph
from snnir.ir.safetensors_io import write_tensors
from snnir.lasting import check_lasting, lasting_states
from snnir.pipeline import LEVELS, PipelineResult
from snnir.progress import progress
from snnir.running import Result, check_batch, check_inputs, check_record, spike_stats
from snnir.target import Compiled, Content, Target, still_continuous

PRECISIONS = ("float32", "reproducible", "float64")
BACKENDS = ("auto", "eager", "c", "triton")
TRAINED = ("weights", "all", "none")
DETACH: dict[str, bool | str] = {"true": True, "false": False, "late": "late"}
PROGRAM, WEIGHTS = "model.py", "weights.safetensors"
KERNELS, GPU_KERNELS = "kernels.c", "kernels_triton.py"


@dataclass(frozen=True)
class TorchTarget(Target):
    """A torch module, trainable with surrogate gradients.

    Options:
        precision: `float32` (sums as the fastest kernel adds them), `reproducible` (sums in
            float64, rounded once, as the NumPy target) or `float64`.
        backend: `auto` (compiled kernels where there is a compiler or a GPU), `eager` (plain
            torch), `c` or `triton`.
        surrogate: Derivative of a spike, such as `atan{alpha=2}`.
        detach_reset: Whether gradients take resets as constants: `true`, `false`, or `late`: only
            resets by spikes of the last step (snnTorch with `reset_delay=False`).
        trained: `weights` (synapses and biases have gradients), `all` (neuron parameters too) or
            `none`.
        device: Where the module is put, such as `cuda`.
    """

    name: ClassVar[str] = "torch"
    summary: ClassVar[str] = "trainable torch module; folder that runs with torch alone"
    learns: ClassVar[bool] = True
    precision: str = "float32"
    backend: str = "auto"
    surrogate: str = DEFAULT
    detach_reset: str = "true"
    trained: str = "weights"
    device: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "detach_reset", str(self.detach_reset).lower())
        choices = {
            "precision": PRECISIONS, "backend": BACKENDS, "trained": TRAINED,
            "detach_reset": tuple(DETACH),
        }  # fmt: skip
        for option, allowed in choices.items():
            value = getattr(self, option)
            if value not in allowed:
                hint = f"use one of {', '.join(allowed)}"
                raise error("SNN503", f"target 'torch': {option} is '{value}'", hint=hint)
        surrogate(self.surrogate)

    def pipeline(self, level: int) -> str:
        """Return the standard pipeline; float64 keeps its parameters in float64."""
        if self.precision != "float64":
            return LEVELS[level]
        return LEVELS[level].replace("discretize", "discretize{dtype=f64}")

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Everything discrete is supported, except ops of plug-ins."""
        _need_torch()
        from snnir.network_build import unsupported
        from snnir.targets.torch_sim import kernels

        return still_continuous(graph) or unsupported(graph, vars(kernels), self.name)

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the module and its folder."""
        _need_torch()
        from snnir.targets.torch_sim.emit import Source

        source = Source.of(graph, self)
        files: dict[str, Content] = {
            PROGRAM: source.program().encode("utf-8"),
            KERNELS: source.kernels().encode("utf-8"),
            GPU_KERNELS: source.gpu_kernels().encode("utf-8"),
            WEIGHTS: partial(_write_weights, source),
        }
        return TorchCompiled(graph, self, files, history, PROGRAM)


def _write_weights(source: Any, file: BinaryIO) -> None:
    write_tensors(source.tensors(), file)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as missing:
        hint = "pip install 'snnir[torch]'"
        raise error("SNN503", f"target 'torch' needs torch ({missing})", hint=hint) from None


@dataclass(frozen=True)
class TorchCompiled(Compiled):
    """A network as a torch module."""

    @cached_property
    def net(self) -> Any:
        """The `torch.nn.Module`; see `snnir.to_torch`."""
        from snnir.targets.torch_sim.emit import Source

        assert isinstance(self.target, TorchTarget)
        return Source.of(self.graph, self.target).network()

    @cached_property
    def _memory(self) -> dict[str, Any]:
        return {}

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Run the network.

        Args:
            x: [T, B, *shape] (or [T, *shape], a batch of one), or one such array per input name.
            record: Nodes to record, as `node` or `node:state`.
            resume: Go on from where the last call ended instead of from rest.
            lasting: What lasts of an earlier run (`Result.lasting`) instead of what the graph has.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a node to record does not exist.
        """
        import torch

        assert isinstance(self.target, TorchTarget)
        kept = check_lasting(self.graph, lasting, resume=resume)
        inputs = check_inputs(x, self.graph.inputs)
        check_record(record, self.graph)
        steps, batch = next(iter(inputs.values())).shape[:2]
        state = self._memory.get("state") if resume else None
        check_batch(batch, None if state is None else self._memory["batch"])
        kind = np.float64 if self.target.precision == "float64" else np.float32
        device = self.target.device
        given = {k: torch.from_numpy(np.asarray(v, kind)).to(device) for k, v in inputs.items()}
        sums: dict[str, float] = {}
        with torch.no_grad(), progress(f"running {steps} steps in torch"):
            own = self.net.lasting
            known = {name: _like(value, own[name]) for name, value in kept.items()}
            outputs, recorded, state = self.net.simulate(given, list(record), state, sums, known)
        self._memory.update(state=state, batch=batch)
        stats = spike_stats(populations(self.graph), sums, steps * batch)
        lasts = arrays(self.net.lasting_of(state))
        for name, facts in lasting_states(self.graph).items():
            whole = facts.dtype.startswith("int")  # they are float64 in torch
            lasts[name] = lasts[name].astype(np.int64) if whole else lasts[name]
        return Result(arrays(outputs), arrays(recorded), stats, lasting=lasts)


def _like(value: npt.NDArray[Any], tensor: Any) -> Any:
    """Return an array as a tensor of the element type and device of another."""
    import torch

    kind = np.dtype(str(tensor.dtype).removeprefix("torch."))
    return torch.from_numpy(np.array(value, kind)).to(tensor.device)


def arrays(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors as arrays of NumPy."""
    return {name: y.detach().cpu().numpy() for name, y in tensors.items()}
