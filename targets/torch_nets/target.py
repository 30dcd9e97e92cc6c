"""`--to snntorch|sinabs|spikingjelly|norse`: a readable module with its weights."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic, error
from snnir.ir.graph import Graph
from snnir.ir.safetensors_io import write_tensors
from snnir.lasting import check_lasting
from snnir.loss_report import LossReport, report
from snnir.pipeline import LEVELS, PipelineResult
from snnir.running import Result, check_inputs, check_record
from snnir.target import Compiled, Content, Target, still_continuous
from snnir.targets.torch_nets.frameworks import FRAMEWORKS
from snnir.targets.torch_nets.source import WEIGHTS
from snnir.targets.torch_nets.writer import PROGRAM, Writer, neuron_losses

CELLS = ("auto", "native", "generated")


@dataclass(frozen=True)
class FrameworkTarget(Target):
    """A torch module of one framework.

    Options:
        cells: `auto` (layers of the framework where they are equal, generated cells elsewhere),
            `native` (layers of the framework only) or `generated` (cells only).
        allow_lossy: With `cells=native`, take the nearest layer where none is equal.
    """

    cells: str = "auto"
    allow_lossy: bool = False

    def __post_init__(self) -> None:
        if self.cells not in CELLS:
            hint = f"use one of {', '.join(CELLS)}"
            raise error("SNN503", f"target '{self.name}': cells is '{self.cells}'", hint=hint)

    def pipeline(self, level: int) -> str:
        """Return the standard pipeline."""
        return LEVELS[level]

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Return every node the framework has no form for."""
        late = []
        if graph.record_offset:
            late = [Diagnostic("SNN501", "the graph reports its outputs late (record_offset)")]
        return still_continuous(graph) or late or self.writer(graph).problems

    def writer(self, graph: Graph) -> Writer:
        """Return the plan of the file."""
        return Writer(graph, FRAMEWORKS[self.name], self.cells, self.allow_lossy)

    def losses(self, graph: Graph) -> LossReport:
        """Return what became of every node."""
        return report(graph, self.name, neuron_losses(self.writer(graph)))

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the module's source and weights."""
        writer = self.writer(graph)
        files: dict[str, Content] = {
            PROGRAM: writer.source().encode("utf-8"),
            WEIGHTS: partial(_write_weights, writer),
        }
        return FrameworkCompiled(graph, self, files, history, PROGRAM)


def _write_weights(writer: Writer, file: BinaryIO) -> None:
    write_tensors(writer.weights, file)


@dataclass(frozen=True)
class SnntorchTarget(FrameworkTarget):
    """snnTorch."""

    name: ClassVar[str] = "snntorch"
    summary: ClassVar[str] = "snnTorch module (Python file and safetensors)"


@dataclass(frozen=True)
class SinabsTarget(FrameworkTarget):
    """Sinabs."""

    name: ClassVar[str] = "sinabs"
    summary: ClassVar[str] = "Sinabs module (Python file and safetensors)"


@dataclass(frozen=True)
class SpikingjellyTarget(FrameworkTarget):
    """SpikingJelly."""

    name: ClassVar[str] = "spikingjelly"
    summary: ClassVar[str] = "SpikingJelly module (Python file and safetensors)"


@dataclass(frozen=True)
class NorseTarget(FrameworkTarget):
    """Norse."""

    name: ClassVar[str] = "norse"
    summary: ClassVar[str] = "Norse module (Python file and safetensors)"


@dataclass(frozen=True)
class FrameworkCompiled(Compiled):
    """A module that can be made live."""

    def module(self) -> Any:
        """Return the live torch module, made from the same source as the file.

        Raises:
            SnnirError: SNN503 if the framework is not installed.
        """
        writer = self._writer()
        names: dict[str, Any] = {"__name__": f"snnir_{self.target.name}_net"}
        source = writer.source()
        try:
            import torch

            exec(compile(source, f"<{self.target.name} module>", "exec"), names)
        except ImportError as failure:
            title = FRAMEWORKS[self.target.name].title
            raise error(
                "SNN503",
                f"{title} cannot be imported ({failure})",
                hint=f"install {self.target.name}",
            ) from None
        net = names["Net"]()
        state = {
            key: torch.from_numpy(np.array(value.numpy(), np.float32))
            for key, value in writer.weights.items()
        }
        unexpected = net.load_state_dict(state, strict=False).unexpected_keys
        assert not unexpected, unexpected
        return net.eval()

    def _writer(self) -> Writer:
        assert isinstance(self.target, FrameworkTarget)
        return self.target.writer(self.graph)

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Run the live module from rest; x is [T, B, *shape] for every framework.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 for a record that is no population.
        """
        check_lasting(self.graph, lasting, resume=resume)
        import torch

        inputs = check_inputs(x, self.graph.inputs)
        check_record(record, self.graph)
        if resume:
            raise error("SNN601", "an exported module starts every run at rest")
        net, writer = self.module(), self._writer()
        seen: dict[str, list[Any]] = {}
        for name in record:
            if name not in writer.layers:
                raise error("SNN602", "only populations can be recorded", node=name)
            layer = getattr(net, writer.modules[name])
            layer.register_forward_hook(partial(_note, seen.setdefault(name, [])))
        first = FRAMEWORKS[self.target.name].batch_first
        given = [torch.as_tensor(np.asarray(a, np.float32)) for a in inputs.values()]
        with torch.no_grad():
            result = net(*(a.transpose(0, 1) if first else a for a in given))
        results = result if isinstance(result, tuple) else (result,)
        outputs = {
            name: (y.transpose(0, 1) if first else y).numpy().copy()
            for name, y in zip(self.graph.outputs, results, strict=True)
        }
        recorded = {
            name: _time_first(steps, writer.layerwise, first) for name, steps in seen.items()
        }
        return Result(outputs, recorded)


def _time_first(calls: list[Any], layerwise: bool, batch_first: bool) -> Any:
    """Return what a layer's calls gave as [T, B, ...]."""
    if layerwise:
        (whole,) = calls
        return (whole.transpose(0, 1) if batch_first else whole).numpy().copy()
    return np.stack([(y.squeeze(1) if batch_first else y).numpy() for y in calls])


def _note(seen: list[Any], module: Any, given: Any, result: Any) -> None:
    seen.append((result[0] if isinstance(result, tuple) else result).detach().clone())


def weights_bytes(compiled: FrameworkCompiled) -> bytes:
    """Return the weights file as bytes."""
    image = io.BytesIO()
    _write_weights(compiled._writer(), image)
    return image.getvalue()
