"""Training for the chip: its weights, its variation, and its own spikes in the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from snnir.driver import to_torch
from snnir.errors import SnnirError, error
from snnir.ir.graph import Graph
from snnir.ir.synapses import Linear
from snnir.pipeline import LEVELS, run_pipeline
from snnir.targets.bss2.chips import MOST_WEIGHT
from snnir.targets.bss2.trainable import Population, populations_of, template
from snnir.targets.bss2.training_variation import Sigmas, Variation, draw
from snnir.tensors import Tensor as Weights

Array = npt.NDArray[Any]
#: (graph with the present weights, x [T, B, *shape]) to what populations of a chip did,
#: [T, B, N] by name: spikes, or membranes in units of the graph.
Observe = Callable[[Graph, Array], Mapping[str, Array]]

RESAMPLE = ("batch", "fixed")
#: How fast a membrane begins to rise after an event of weight 1, in LSB per microsecond: the
#: nominal chip's, at full capacitance.
GAIN = 0.18
#: What lies between leak and threshold, or corresponds to 1 in a readout: LSB, least and most.
SPAN = (20.0, 140.0)
#: Of drawn chips, apart from the numbered ones.
_DRAWN = 1


class HalfAway(torch.autograd.Function):
    """Whole multiples of a unit, halves away from zero; gradients pass as they are."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, unit: Tensor) -> Tensor:
        """Return the multiple of the unit that is nearest."""
        size = (weight.double() / unit.double()).abs()
        whole = size.trunc()
        whole = whole + (size - whole >= 0.5)
        return (torch.copysign(whole, weight.double()) * unit.double()).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient as if nothing had been rounded."""
        return gradients[0], None


class ChipNet(nn.Module):
    """A network that is trained as a BrainScaleS-2 chip runs it.

    Weights are real numbers that are rounded whenever they are used: per neuron, all weights onto
    it are whole multiples of the largest divided by 63 (gradients pass straight through). With
    `mismatch`, thresholds, potentials, time constants and gains of the neurons vary as on a chip.
    With `observe` (or `observed`), populations yield what a chip did, and only gradients are those
    of the model.

    Args:
        graph: Linear layers and neurons with a synaptic current (cubalif, cubali); it needs a dt
            for `mismatch`.
        weight_bits: Bits of a weight besides its sign; None leaves weights as they are.
        mismatch: Whether neurons and synapses vary, or sigmas that differ from those of `Sigmas`,
            by name.
        resample: In training, whether every `batch` is on another chip or all on the one `fixed`
            chip number `seed`.
        seed: Of the chips, 0 or more.
        observe: Called with the graph of the present weights and the input of every batch; see
            `Observe`.
        gain: LSB per microsecond that a membrane rises at first after an event of weight 1. With
            the weights it says how many LSB the model's threshold is, and so how much
            mismatch in LSB counts.
        speedup: How many times faster the chip is than the model.
        options: Options of the torch target but `trained`; see `snnir.to_torch`.

    Attributes:
        net: The module over [T, B, *shape] that is run; its parameters are the real weights.
        chip: Number of the chip that is run. None: in training another one for every call, in
            evaluation one without mismatch.
        populations: What is on the chip, by name.

    Raises:
        SnnirError: SNN501 listing what of the graph is no network of such a chip; SNN503 for
            options that are wrong.
    """

    def __init__(
        self, graph: Graph, *, weight_bits: int | None = 6,
        mismatch: bool | Mapping[str, float] | Sigmas = False,
        resample: str = "batch", seed: int = 0, observe: Observe | None = None, gain: float = GAIN,
        speedup: float = 1000.0, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if options.get("trained", "weights") != "weights":
            raise _wrong(f"trained is '{options['trained']}'", "weights alone are trained for it")
        _check(
            graph, weight_bits=weight_bits, mismatch=mismatch, resample=resample, seed=seed,
            gain=gain, speedup=speedup,
        )  # fmt: skip
        stepped = run_pipeline(graph.verify(), LEVELS[0]).graph
        self.populations: dict[str, Population] = populations_of(stepped)
        self.net = to_torch(template(stepped, self.populations), **options)
        self.chip: int | None = seed if resample == "fixed" else None
        self.weight_bits, self.observe = weight_bits, observe
        self.mismatch = _sigmas(mismatch)
        self._graph, self._seed, self._drawn = graph, seed, 0
        # LSB per microsecond and per unit of the model's time.
        self._rise = gain * MOST_WEIGHT * (graph.dt or 0.0) * 1e6 / speedup

    def forward(
        self, x: Tensor | Mapping[str, Tensor], observed: Mapping[str, Tensor] | None = None
    ) -> Any:
        """Run the network.

        Args:
            x: [T, B, *shape], or a mapping by input name.
            observed: What populations did, [T, B, N] by name, instead of asking `observe`.

        Returns:
            The output [T, B, *shape]; a mapping by name if there are several.

        Raises:
            ValueError: If what was observed does not fit the network.
        """
        if observed is None and self.observe is not None:
            if isinstance(x, Mapping):
                raise ValueError("with several inputs, pass what was observed as `observed`")
            did = self.observe(self.graph(), x.detach().cpu().numpy())
            observed = {name: torch.as_tensor(np.asarray(value)) for name, value in did.items()}
        with self.net.using(self._tensors(self._variation()), observed):
            return self.net(x)

    def activity(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what every population does, [T, B, N] by name, without gradients.

        Of a net on a numbered chip, this is what another one can be given as `observed`.

        Args:
            x: As of `forward`.
        """
        given = x if isinstance(x, Mapping) else {next(iter(self.net.model.inputs)): x}
        with torch.no_grad(), self.net.using(self._tensors(self._variation())):
            did: dict[str, Tensor] = self.net.simulate(given, list(self.populations))[1]
        return did

    def units(self) -> dict[str, Tensor]:
        """Return what a weight of 1 of the chip is in the graph, [N] by population."""
        found = {}
        for population in self.populations.values():
            with torch.no_grad():
                sizes = [self._own(name).abs() for name in self._onto(population)]
                rows = [w.amax(1) if w.ndim == 2 else w.expand(population.size) for w in sizes]
                largest = torch.stack(rows).amax(0) if rows else torch.ones(population.size)
                most = 2 ** (self.weight_bits or 6) - 1
                found[population.name] = torch.where(largest > 0, largest, 1.0) / most
        return found

    def lsb_per_unit(self) -> dict[str, Array]:
        """Return how many LSB of the chip one unit of the graph's membranes is, [N] each."""
        found = {}
        for name, unit in self.units().items():
            population = self.populations[name]
            largest = unit.cpu().numpy() * (2 ** (self.weight_bits or 6) - 1)
            span = np.ones(population.size)
            if population.spiking:
                span = np.abs(population.params["threshold"] - population.params["leak"])
            lsb = self._rise / (population.slope * largest) * span
            found[name] = np.clip(lsb, *SPAN) / np.where(span > 0, span, 1.0)
        return found

    def graph(self) -> Graph:
        """Return the graph with the trained weights, rounded as they are used."""
        tensors = self._tensors(None)
        editor = self._graph.edit()
        for population in self.populations.values():
            for node in population.synapses:
                op = self._graph.nodes[node].op
                assert isinstance(op, Linear)
                own = {
                    key: Weights(tensors[f"{node}.{key}"].detach().cpu().numpy().astype(np.float32))
                    for key in op.tensors()
                }
                editor.set_op(node, replace(op, **own))  # type: ignore[arg-type]
        return editor.graph().verify()

    def _variation(self) -> dict[str, Variation] | None:
        """Return the chip of the next run."""
        if self.mismatch is None or (self.chip is None and not self.training):
            return None
        number = (self.chip,) if self.chip is not None else (self._seed, _DRAWN, self._drawn)
        self._drawn += self.chip is None
        found = {}
        for index, (name, population) in enumerate(self.populations.items()):
            shapes = {tensor: tuple(self._own(tensor).shape) for tensor in self._onto(population)}
            found[name] = draw(population.size, shapes, self.mismatch, *number, index)
        return found

    def _tensors(self, varied: Mapping[str, Variation] | None) -> dict[str, Tensor]:
        """Return what the next run uses, by `node.attribute`."""
        units, lsb = self.units(), self.lsb_per_unit() if varied else {}
        found: dict[str, Tensor] = {}
        for name, population in self.populations.items():
            own = None if varied is None else varied[name]
            if own is not None:
                found |= self._parameters_of(name, population.on_chip(own, lsb[name]))
            for tensor in self._onto(population):
                found[tensor] = self._used(tensor, units[name], own)
        return found

    def _used(self, name: str, unit: Tensor, varied: Variation | None) -> Tensor:
        """Return weights (or biases) as the chip has them."""
        weight = self._own(name)
        by_row = unit[:, None] if weight.ndim == 2 else unit if weight.numel() > 1 else unit.amax()
        if self.weight_bits is not None:
            weight = HalfAway.apply(weight, by_row)
        if varied is None:
            return weight
        like = {"dtype": weight.dtype, "device": weight.device}
        gain = torch.tensor(varied.gain, **like)
        excitatory, inhibitory = gain[:, :, None] if weight.ndim == 2 else gain
        factors = torch.tensor(varied.synapses[name], **like)
        return weight * factors * torch.where(weight > 0, excitatory, inhibitory)

    def _parameters_of(self, name: str, values: Mapping[str, Array]) -> dict[str, Tensor]:
        """Return the parameters of a population's step as tensors."""
        unit = self.net.model.units[name]
        found = {}
        for key, tensor in unit.tensors.items():
            before = self.net.tensor(tensor)
            found[tensor] = torch.tensor(values[key], dtype=before.dtype, device=before.device)
        return found

    def _own(self, name: str) -> Tensor:
        value: Tensor = self.net.tensor(name)
        return value

    def _onto(self, population: Population) -> list[str]:
        """Return the tensors of a population's synapses."""
        return [
            f"{node}.{key}"
            for node in population.synapses
            for key in self._graph.nodes[node].op.tensors()
        ]


def _sigmas(mismatch: Any) -> Sigmas | None:
    """Return the sigmas that are asked for."""
    if isinstance(mismatch, Sigmas):
        return mismatch
    if isinstance(mismatch, Mapping):
        known = [item.name for item in fields(Sigmas)]
        for name in mismatch:
            if name not in known:
                raise _wrong(f"mismatch has no '{name}'", f"it has {', '.join(known)}")
        return Sigmas(**mismatch)
    if not isinstance(mismatch, bool):
        raise _wrong(f"mismatch is {mismatch!r}", "use True, False, or sigmas by name")
    return Sigmas() if mismatch else None


def _check(graph: Graph, **given: Any) -> None:
    """Raise SNN503 for arguments of `ChipNet` that are wrong."""
    bits, seed = given["weight_bits"], given["seed"]
    if bits is not None and not (isinstance(bits, int) and 1 <= bits <= 16):
        raise _wrong(f"weight_bits is {bits}", "the chip has 6; None leaves real numbers")
    if given["resample"] not in RESAMPLE:
        raise _wrong(f"resample is '{given['resample']}'", f"use one of {', '.join(RESAMPLE)}")
    if not (isinstance(seed, int) and seed >= 0):
        raise _wrong(f"seed is {seed}", "use a whole number, 0 or more")
    for name in ("gain", "speedup"):
        if not given[name] > 0:
            raise _wrong(f"{name} is {given[name]}", "it is positive")
    if given["mismatch"] and graph.dt is None:
        raise _wrong("mismatch depends on the step, and the graph has no dt", "load it with dt")


def _wrong(problem: str, hint: str) -> SnnirError:
    return error("SNN503", f"training for 'bss2': {problem}", hint=hint)
