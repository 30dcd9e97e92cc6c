"""How a chip is run, and what its circuits are then; copied into emitted folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import TICK_NS
from snnir.targets.bss2.emulation.circuits import AnalogueChip
from snnir.targets.bss2.emulation.config_types import Config, Setup
from snnir.targets.bss2.emulation.delivery import Delivery
from snnir.targets.bss2.emulation.variation import BadInput, Sigmas, VirtualChip

MODES_OF_RUNNING = ("ideal", "mismatch", "euler")
_TICKS_PER_US = 1000 / TICK_NS


@dataclass(frozen=True)
class Conditions:
    """How a chip is run.

    Attributes:
        mode: `ideal`: the circuits are what the calibration aims at; `mismatch`: as on the virtual
            chip of `seed`; `euler`: the vendor's simulation in steps, without a chip.
        seed: Of the virtual chip.
        noise_seed: Of what differs from trial to trial; None: nothing does.
        sigmas: Sizes of mismatch and noise.
        arbitrate: Drop events that come to a bus which has had all it takes in a tick.
        serial: Delay events of the host that its link cannot carry in their tick.
        cadc: `sampled`, or `ideal`: membranes as they are, at the end of each step.
        cadc_period: Microseconds between samples.
    """

    mode: str = "ideal"
    seed: int = 0
    noise_seed: int | None = None
    sigmas: Sigmas = field(default_factory=Sigmas)
    arbitrate: bool = False
    serial: bool = False
    cadc: str = "sampled"
    cadc_period: float = 1.7

    def __post_init__(self) -> None:
        if self.mode not in MODES_OF_RUNNING or self.cadc not in ("sampled", "ideal"):
            raise BadInput(f"there is no mode '{self.mode}' with cadc '{self.cadc}'")
        given: tuple[Any, Any] = self.sigmas, self.cadc_period  # of users, who may give anything
        if not isinstance(given[0], Sigmas):
            raise BadInput(f"sigmas are 'NAME=SIZE,…' or Sigmas, not {self.sigmas!r:.80}")
        if not isinstance(given[1], float | int | np.number) or not 0.1 <= given[1] <= 1e6:
            raise BadInput(f"the CADC cannot sample every {self.cadc_period} us")
        seeds: tuple[Any, ...] = self.seed, self.noise_seed or 0
        for seed in seeds:
            if not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
                raise BadInput(f"a seed is a whole number from 0, not {seed}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Conditions:
        """Return conditions by name; sigmas may be a text as of `Sigmas.parse`.

        Raises:
            BadInput: For a name that is none, or a value that is not possible.
        """
        known = [item.name for item in fields(cls)]
        for name in given:
            if name not in known:
                raise BadInput(f"'{name}' is no condition of a run; {', '.join(known)} are")
        sigmas = given.get("sigmas")
        parsed = {"sigmas": Sigmas.parse(sigmas)} if isinstance(sigmas, str) else {}
        return cls(**{**given, **parsed})


def analogue_chip(
    config: Config, setup: Setup, delivery: Delivery, chip: VirtualChip, how: Conditions
) -> AnalogueChip:
    """Return an execution's neurons as they are on a chip, in ticks."""
    neurons = setup.neurons
    first = np.array([own[0] for own in neurons.circuits])
    gain = config.gain * 63 / neurons.capacitance / _TICKS_PER_US
    exc, inh = (neurons.tau_syn[:, k] * _TICKS_PER_US for k in (0, 1))
    values = [
        neurons.leak + chip.leak[first],
        neurons.reset + chip.reset[first],
        neurons.threshold + chip.threshold[first],
        1 / (neurons.tau_mem * _TICKS_PER_US * chip.tau_mem[first]),
        1 / (exc * chip.tau_exc[first]), 1 / (inh * chip.tau_inh[first]), gain, gain,
    ]  # fmt: skip
    spikes = ~np.isnan(neurons.threshold)
    clocks = np.stack([neurons.hold, neurons.refractory, first, spikes], 1).astype(np.int64)
    factor = None
    if how.mode == "mismatch":
        # Every circuit of a joined neuron has its own synaptic inputs.
        _, circuit, sign, number = delivery.hit.T
        factor = np.where(sign > 0, chip.gain_exc[circuit], chip.gain_inh[circuit])
        if chip.synapse is not None:
            hemisphere, row, column = setup.synapses[number, :3].T
            factor = factor * chip.synapse[hemisphere, row, column]
    up, down = delivery.sums(factor)
    noisy = how.noise_seed is not None
    return AnalogueChip(
        np.stack(values, 1), clocks, delivery.legs, delivery.bus, delivery.entries, delivery.unit,
        up, down, config.latency, how.sigmas.noise_threshold if noisy else 0.0,
        how.sigmas.noise_jitter if noisy else 0.0, how.noise_seed or 0, how.arbitrate,
    )  # fmt: skip
