"""Training for the chip: its weights, its variation, and its own spikes in the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from snnir.driver import to_torch
from snnir.errors import SnnirError, error
from snnir.ir.graph import Graph
from snnir.ir.synapses import Linear
from snnir.pipeline import LEVELS, run_pipeline
from snnir.target import target_from
from snnir.targets.bss2.emulation.variation import Sigmas
from snnir.targets.bss2.target import Bss2Target
from snnir.targets.bss2.training.grid import Grid, Mapped
from snnir.targets.bss2.training.in_the_loop import EmulatedChip
from snnir.targets.bss2.training.trainable import Population, populations_of, template
from snnir.targets.bss2.training.variations import Variation, draw, sigmas_of
from snnir.tensors import Tensor as Weights

Array = npt.NDArray[Any]
#: (graph with the present weights, x [T, B, *shape], or by input if there are several) to what
#: populations of a chip did, [T, B, N] by name: spikes, or membranes in units of the graph.
Observe = Callable[[Graph, Any], Mapping[str, Array]]

RESAMPLE = ("batch", "fixed")
#: Bits of a weight besides its sign.
WEIGHT_BITS = 6
#: Of drawn chips, apart from the numbered ones.
_DRAWN = 1


class Instead(torch.autograd.Function):
    """A value in place of another one, to which gradients pass as they are."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, used: Tensor) -> Tensor:
        """Return the other value."""
        return used

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient as if nothing had been replaced."""
        return gradients[0], None


class ChipNet(nn.Module):
    """A network that is trained as a BrainScaleS-2 chip runs it.

    Weights are real numbers that are rounded whenever they are used: to the whole numbers that the
    target makes of them, of 6 bits and a sign, on a grid for every neuron (gradients pass straight
    through). With `mismatch`, thresholds, potentials, time constants and gains of the neurons vary
    as on a chip. With `in_the_loop`, populations yield what the emulated chip does, with `observe`
    (or `observed`) what another one did; then only gradients are those of the model.

    Not part of the model are the rounding of potentials to LSB of the CADC, and what a chip in
    continuous time does between steps: it sends spikes and is reset within a step. Neurons
    without a refractory time have one of half a step there, as resets at the end of a step are late
    by half a step on average; the model needs none.

    Args:
        graph: Linear layers and neurons with a synaptic current (cubalif, cubali), and its dt.
            Biases become one number per neuron.
        weight_bits: 6; None leaves weights as they are.
        mismatch: Whether neurons and synapses vary, or sigmas that differ from those of
            `variation.Sigmas`, by name or as a text. What it calls noise is left out.
        resample: In training, whether every `batch` is on another chip or all on the one `fixed`
            chip number `seed`. It differs from the emulator's chip of that number.
        seed: Of the chips, 0 or more.
        in_the_loop: Conditions of a run of the emulated chip (`mode`, `seed`, `noise_seed`,
            `sigmas`, `cadc` ..., see `Bss2Compiled.run`), or True for the ideal one.
        observe: Called with the graph of the present weights and the input of every batch; see
            `Observe`.
        options: Options of the target bss2 (`gain`, `speedup`, `scale`, `bias_every` ...), and of
            the torch target but `trained`; see `snnir.to_torch`. With `calibrate`, compiling may
            give membranes that are read a coarser grid than training, which takes no part in it.

    Attributes:
        net: The module over [T, B, *shape] that is run; its parameters are the real weights.
        chip: Number of the chip that is run. None: in training another one for every call, in
            evaluation one without mismatch.
        populations: What is on the chip, by name.
        grid: What rounds weights.
        target: The target, with its options.

    Raises:
        SnnirError: SNN501 listing what of the graph is no network of such a chip; SNN503 for
            options that are wrong.
    """

    def __init__(
        self, graph: Graph, *, weight_bits: int | None = WEIGHT_BITS,
        mismatch: bool | str | Mapping[str, float] | Sigmas = False,
        resample: str = "batch", seed: int = 0,
        in_the_loop: bool | Mapping[str, Any] = False, observe: Observe | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        _check(weight_bits=weight_bits, resample=resample, seed=seed, loop=in_the_loop,
               observe=observe, trained=options.get("trained", "weights"))  # fmt: skip
        known = {item.name for item in fields(Bss2Target)}
        own = {name: options.pop(name) for name in known & options.keys()}
        self.target = cast("Bss2Target", target_from("bss2", own))
        self.mismatch = sigmas_of(mismatch)
        self._graph = _by_neuron(graph.verify())
        stepped = run_pipeline(self._graph, LEVELS[0]).graph
        self.populations: dict[str, Population] = populations_of(stepped)
        synapses = {name: own.synapses for name, own in self.populations.items()}
        self.grid = Grid(self._graph, self.target.wishes(), synapses)
        self.net = to_torch(template(stepped, self.populations), **options)
        self.chip: int | None = seed if resample == "fixed" else None
        self.weight_bits, self.observe = weight_bits, observe
        if in_the_loop is not False:
            self.observe = EmulatedChip(self.target, in_the_loop)
        self._seed, self._drawn = seed, 0

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
            ValueError: If what was observed does not fit the network, or weights are not finite.
        """
        if observed is None and self.observe is not None:
            given = {n: _numpy(v) for n, v in x.items()} if isinstance(x, Mapping) else _numpy(x)
            did = self.observe(self.graph(), given)
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

    def units(self) -> dict[str, Array]:
        """Return what a weight of 1 of the chip is in the graph, [N] by population."""
        return {name: 1 / own.per_unit for name, own in self._settled()[1].targets.items()}

    def lsb_per_unit(self) -> dict[str, Array]:
        """Return how many LSB of the chip one unit of the graph's membranes is, [N] each."""
        return _lsb(self._settled()[1])

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

    def _settled(self) -> tuple[dict[str, Array], Mapped]:
        """Return weights and biases as they are used, and what they are on the chip."""
        real = {
            name: _numpy(self._own(name))
            for own in self.populations.values()
            for name in self._onto(own)
        }
        wrong = [name for name, value in real.items() if not np.isfinite(value).all()]
        if wrong:
            raise ValueError(f"{wrong[0]} is not finite; train with a lower rate")
        if self.weight_bits is None:
            return real, self.grid.mapped(real)
        return self.grid.settled(real)

    def _tensors(self, varied: Mapping[str, Variation] | None) -> dict[str, Tensor]:
        """Return what the next run uses, by `node.attribute`."""
        used, mapped = self._settled()
        lsb = _lsb(mapped)
        found: dict[str, Tensor] = {}
        for name, population in self.populations.items():
            own = None if varied is None else varied[name]
            if own is not None:
                found |= self._parameters_of(name, population.on_chip(own, lsb[name]))
            positive = mapped.targets[name].per_unit > 0
            for tensor in self._onto(population):
                found[tensor] = self._used(tensor, used[tensor], own, positive)
        return found

    def _used(self, name: str, rounded: Array, varied: Variation | None, positive: Array) -> Tensor:
        """Return weights (or biases) as the chip has them.

        Args:
            name: `node.attribute`.
            rounded: Their values.
            varied: The population on the chip.
            positive: Whether weights have the chip's sign, [N].
        """
        own = self._own(name)
        weight: Tensor = Instead.apply(own, torch.as_tensor(rounded, device=own.device))
        if varied is None:
            return weight
        excitatory, inhibitory = varied.gain[:, :, None] if rounded.ndim == 2 else varied.gain
        is_positive = (rounded > 0) == (positive[:, None] if rounded.ndim == 2 else positive)
        factors = varied.synapses[name] * np.where(is_positive, excitatory, inhibitory)
        return weight * torch.tensor(factors, dtype=own.dtype, device=own.device)

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


def _numpy(value: Tensor) -> Array:
    result: Array = value.detach().cpu().numpy()
    return result


def _lsb(mapped: Mapped) -> dict[str, Array]:
    return {name: 1 / own.factor for name, own in mapped.targets.items()}


def _by_neuron(graph: Graph) -> Graph:
    """Return the graph with a bias per neuron where all of a layer have one."""
    editor = graph.edit()
    for name, node in graph.nodes.items():
        if isinstance(node.op, Linear) and node.op.bias is not None:
            bias = np.broadcast_to(node.op.bias.numpy(), node.op.weight.shape[:1])
            editor.set_op(name, replace(node.op, bias=Weights(bias.copy())))
    return editor.graph().verify()


def _check(**given: Any) -> None:
    """Raise SNN503 for arguments of `ChipNet` that are wrong."""
    bits, seed = given["weight_bits"], given["seed"]
    if bits not in (WEIGHT_BITS, None):
        raise _wrong(f"weight_bits is {bits}", "the chip has 6; None leaves real numbers")
    if given["resample"] not in RESAMPLE:
        raise _wrong(f"resample is '{given['resample']}'", f"use one of {', '.join(RESAMPLE)}")
    if not (isinstance(seed, int) and seed >= 0):
        raise _wrong(f"seed is {seed}", "use a whole number, 0 or more")
    if not isinstance(given["loop"], (bool, Mapping)):
        raise _wrong(f"in_the_loop is {given['loop']!r}", "use True, or conditions by name")
    if given["loop"] is not False and given["observe"] is not None:
        raise _wrong("observe and in_the_loop are both given", "populations do one thing")
    if given["trained"] != "weights":
        raise _wrong(f"trained is '{given['trained']}'", "weights alone are trained for it")


def _wrong(problem: str, hint: str) -> SnnirError:
    return error("SNN503", f"training for 'bss2': {problem}", hint=hint)
