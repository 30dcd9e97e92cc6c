"""BindsNET's learning rules in terms of `snnir.rules`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from snnir import rules
from snnir.frontends.bindsnet_nets.values import Array, Unsupported, array_of, class_of
from snnir.ir import Step
from snnir.rules import Limits, Rule

#: How samples are joined, by the name of torch's function.
_REDUCTIONS = {"squeeze": "sum", "sum": "sum", "mean": "mean"}


@dataclass(frozen=True)
class Learned:
    """What a connection learns by.

    Attributes:
        rule: The rule.
        traces: What keeps `p_plus` of the source and `p_minus` of the target, if it reads them.
        notes: What is to be said of it.
        rounds: It may round elsewhere than BindsNET even for one sample.
    """

    rule: Rule
    traces: dict[str, Step] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rounds: bool = False


@dataclass(frozen=True)
class RuleReader:
    """A rule of BindsNET with what its connection says.

    Attributes:
        rule: The rule.
        limits: What is done to the weights after it.
        a_plus, a_minus: Of rules with a reward.
    """

    rule: Any
    limits: Limits
    a_plus: Any
    a_minus: Any

    def nu(self, half: int) -> Array:
        """Return a learning rate, broadcastable to [post, pre]."""
        rate: Array = np.asarray(array_of(self.rule.nu)[half])
        return rate[:, None] if rate.ndim == 1 else rate.T

    @property
    def is_fused(self) -> bool:
        """Whether BindsNET adds pairs up in one product of matrices."""
        dense = not self.rule.connection.w.is_sparse
        return dense and array_of(self.rule.nu).ndim == 1 and self._by in ("squeeze", "sum")

    @property
    def _by(self) -> str:
        return str(getattr(self.rule.reduction, "__name__", ""))

    @property
    def reduction(self) -> str:
        """How samples are joined.

        Raises:
            Unsupported: SNN802 for a function other than torch's squeeze, sum or mean.
        """
        function = self.rule.reduction
        if self._by not in _REDUCTIONS or type(function).__name__ != "builtin_function_or_method":
            shown = self._by or type(function).__name__
            hint = "use torch.squeeze, torch.sum or torch.mean"
            raise Unsupported(f"joins samples by '{shown}'", hint)
        return _REDUCTIONS[self._by]

    def decay(self, name: str) -> Array:
        """Return exp(-dt / tau) as torch computes it."""
        return array_of((-float(self.rule.connection.dt) / getattr(self.rule, name)).exp())

    def traces(self) -> dict[str, Step]:
        """Return what keeps the rule's own traces of spikes."""
        plus, minus = (np.asarray(array_of(a), np.float32) for a in (self.a_plus, self.a_minus))
        return {
            "p_plus": rules.trace(self.decay("tc_plus"), plus, additive=True),
            "p_minus": rules.trace(self.decay("tc_minus"), minus, additive=True),
        }


def _post_pre(r: RuleReader) -> Learned:
    return Learned(rules.post_pre(r.nu(0), r.nu(1), r.limits, r.reduction))


def _weight_dependent(r: RuleReader) -> Learned:
    return Learned(rules.weight_dependent_post_pre(r.nu(0), r.nu(1), r.limits, r.reduction))


def _hebbian(r: RuleReader) -> Learned:
    return Learned(rules.hebbian(r.nu(0), r.nu(1), r.limits, r.reduction, rate_first=r.is_fused))


def _diehl_and_cook(r: RuleReader) -> Learned:
    target, exponent = float(r.rule.x_tar), float(r.rule.mu)
    rule = rules.diehl_and_cook(r.nu(1), r.limits, target, exponent, r.reduction)
    notes = () if exponent in (0.5, 1.0, 2.0, 3.0) else ("its power may differ in the last bit",)
    return Learned(rule, {}, notes, rounds=bool(notes))


def _mstdp(r: RuleReader) -> Learned:
    rule = rules.mstdp(r.nu(0), r.limits, bool(r.rule.zero_lag), r.reduction)
    return Learned(rule, r.traces())


def _mstdpet(r: RuleReader) -> Learned:
    rule = rules.mstdpet(
        r.nu(0), r.decay("tc_e_trace"), array_of(r.rule.tc_e_trace), r.limits,
        dt=float(r.rule.connection.dt), zero_lag=bool(r.rule.zero_lag), reduction=r.reduction,
    )  # fmt: skip
    return Learned(rule, r.traces())


def _rmax(r: RuleReader) -> Learned:
    dt = r.rule.connection.dt
    left, ratio = array_of(1 - dt / r.rule.tc_e_trace), array_of(r.rule.tc_c / dt)
    rule = rules.rmax(r.nu(0), left, ratio, r.limits, r.reduction)
    note = "BindsNET runs it with one sample; exp may differ in the last bit"
    return Learned(rule, {}, (note,), rounds=True)


_RULES: dict[str, Callable[[RuleReader], Learned]] = {
    "DiehlAndCook": _diehl_and_cook,
    "Hebbian": _hebbian,
    "MSTDP": _mstdp,
    "MSTDPET": _mstdpet,
    "PostPre": _post_pre,
    "Rmax": _rmax,
    "WeightDependentPostPre": _weight_dependent,
}

#: What a rule keeps beyond `reset_state_variables`.
KEPT = ("p_plus", "p_minus", "eligibility", "eligibility_trace")


def rule_name(connection: Any) -> str:
    """Return the class of a connection's rule.

    Raises:
        Unsupported: SNN802 if it is not known.
    """
    rule = connection.update_rule
    name = class_of(rule, "learning.learning")
    if name in _RULES or name == "NoOp":
        return name
    known = ", ".join(_RULES)
    hint = f"use one of {known}, or read it frozen: network.train(False)"
    raise Unsupported(f"learns by {type(rule).__qualname__}, which is not read", hint)


def read_rule(reader: RuleReader) -> Learned:
    """Return what a connection learns by; its rule is none of `NoOp`."""
    name = rule_name(reader.rule.connection)
    found = _RULES[name](reader)
    notes = found.notes
    if any(bool(array_of(getattr(reader.rule, kept, 0.0)).any()) for kept in KEPT):
        notes = (
            *notes,
            "has run: BindsNET keeps its traces in spite of reset_state_variables, "
            "the graph starts them at 0",
        )
    return replace(found, notes=notes)
