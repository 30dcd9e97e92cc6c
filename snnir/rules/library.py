"""The rules. In all of them x_pre and x_post are traces, see `snnir.rules.trace`.

Rates and the like are one number, or an array broadcastable to [post, pre]. `reduction` joins the
samples of a batch: their `sum` in their order, or their `mean`, which is that divided by their
number.
"""

from __future__ import annotations

import numpy as np

from snnir.dynamics import maximum, sqrt
from snnir.dynamics.trace import Symbol
from snnir.errors import error
from snnir.rules.rule import Limits, Rule, Writer, as_float32, is_on
from snnir.tensors import TensorLike

_FREE = Limits()


def keep(limits: Limits = _FREE) -> Rule:
    """Return the rule by which weights stay as they are, but for limits (and normalisation)."""
    writer = Writer("keep")
    return writer.rule(writer.w, limits)


def post_pre(
    pre_rate: TensorLike | None,
    post_rate: TensorLike | None,
    limits: Limits = _FREE,
    reduction: str = "sum",
) -> Rule:
    """Return pair-based STDP: w -= pre (x_post pre_rate), then w += x_pre (post post_rate).

    Args:
        pre_rate: Depression at spikes of the source; without it, or if it is 0, that half is
            left out, and so is the other half.
        post_rate: Potentiation at spikes of the neuron.
        limits: What is done to the weights after that.
        reduction: See above.
    """
    writer = Writer("post_pre", reduction)
    w = writer.w
    if is_on(pre_rate, "pre_rate"):
        pre, x_post = writer.input("pre"), writer.input("x_post")
        w = w - writer.over_samples(pre * (x_post * writer.param("pre_rate", pre_rate)))
    if is_on(post_rate, "post_rate"):
        x_pre, post = writer.input("x_pre"), writer.input("post")
        w = w + writer.over_samples(x_pre * (post * writer.param("post_rate", post_rate)))
    return writer.rule(w, limits)


def hebbian(
    pre_rate: TensorLike | None,
    post_rate: TensorLike | None,
    limits: Limits = _FREE,
    reduction: str = "sum",
    rate_first: bool = True,
) -> Rule:
    """Return the rule that strengthens at every spike.

    w += pre x_post pre_rate, then w += x_pre post post_rate.

    Args:
        pre_rate: Of spikes of the source; that half is left out without it.
        post_rate: Of spikes of the neuron.
        limits: What is done to the weights after that.
        reduction: See above.
        rate_first: Multiply by the rate before samples are added up (as BindsNET does for dense
            weights and rates that are one number) and not after (as it does else).
    """
    writer = Writer("hebbian", reduction)
    w = writer.w
    halves = (("pre", "x_post", "pre_rate", pre_rate), ("post", "x_pre", "post_rate", post_rate))
    for spike, trace, name, value in halves:
        if not is_on(value, name):
            continue
        s, x, rate = writer.input(spike), writer.input(trace), writer.param(name, value)
        if not rate_first:
            w = w + rate * writer.over_samples(s * x)
        elif spike == "pre":
            w = w + writer.over_samples(s * (x * rate))
        else:
            w = w + writer.over_samples(x * (s * rate))
    return writer.rule(w, limits)


def weight_dependent_post_pre(
    pre_rate: TensorLike | None,
    post_rate: TensorLike | None,
    limits: Limits,
    reduction: str = "sum",
) -> Rule:
    """Return STDP with soft bounds: nearer to a bound, weights change less.

    w += post_rate x_pre post (upper - w) - pre_rate pre x_post (w - lower).

    Args:
        pre_rate: Depression at spikes of the source; that half is left out without it.
        post_rate: Potentiation at spikes of the neuron.
        limits: With both bounds.
        reduction: See above.

    Raises:
        SnnirError: SNN105 if a bound is missing.
    """
    if limits.lower is None or limits.upper is None:
        raise error("SNN105", "weight_dependent_post_pre needs a lower and an upper bound")
    writer = Writer("weight_dependent_post_pre", reduction)
    change: Symbol | None = None
    if is_on(pre_rate, "pre_rate"):
        pairs = writer.over_samples(writer.input("pre") * writer.input("x_post"))
        down = writer.param("pre_rate", pre_rate) * pairs
        change = 0.0 - down * (writer.w - writer.param("wmin", limits.lower))
    if is_on(post_rate, "post_rate"):
        pairs = writer.over_samples(writer.input("x_pre") * writer.input("post"))
        up = writer.param("post_rate", post_rate) * pairs
        up = up * (writer.param("wmax", limits.upper) - writer.w)
        change = up if change is None else change + up
    return writer.rule(writer.w if change is None else writer.w + change, limits)


def diehl_and_cook(
    rate: TensorLike | None,
    limits: Limits,
    target: float = 0.0,
    exponent: float = 1.0,
    reduction: str = "sum",
) -> Rule:
    """Return STDP at spikes of the neuron alone.

    w += rate (x_pre - target) post (upper - w)^exponent.

    After P. Diehl and M. Cook, Unsupervised learning of digit recognition using
    spike-timing-dependent plasticity, Frontiers in Computational Neuroscience 9:99, 2015, 2.3.

    Args:
        rate: Of spikes of the neuron; nothing is learned without it.
        limits: With an upper bound.
        target: The trace of a source at which its weight stays.
        exponent: How it depends on the weight. If it is not 1, what is left to the bound is taken
            as 0 where it is below; 0.5, 2 and 3 are computed by a root and products.
        reduction: See above.

    Raises:
        SnnirError: SNN105 if the upper bound is missing.
    """
    if limits.upper is None:
        raise error("SNN105", "diehl_and_cook needs an upper bound")
    writer = Writer("diehl_and_cook", reduction)
    if not is_on(rate):
        return writer.rule(writer.w, limits)
    x = writer.input("x_pre") - writer.param("target", target)
    pairs = writer.over_samples(x * writer.input("post"))
    left = writer.param("wmax", limits.upper) - writer.w
    if exponent != 1.0:
        left = _power(writer, maximum(left, 0.0), exponent)
    return writer.rule(writer.w + writer.param("rate", rate) * pairs * left, limits)


def _power(writer: Writer, x: Symbol, exponent: float) -> Symbol:
    if exponent == 0.5:
        return sqrt(x)
    if exponent == 2.0:
        return x * x
    if exponent == 3.0:
        return x * x * x
    return x ** writer.param("exponent", exponent)


def mstdp(
    rate: TensorLike, limits: Limits = _FREE, zero_lag: bool = False, reduction: str = "sum"
) -> Rule:
    """Return STDP that a reward turns into learning: w += rate sum(reward e).

    The eligibility e = p_plus post + pre p_minus is that of the step before. p_plus and p_minus
    are traces that add up: `trace(decay, a_plus, additive=True)`. After R. Florian, Reinforcement
    learning through modulation of spike-timing-dependent synaptic plasticity, Neural Computation
    19, 2007, equation 3.9.

    Args:
        rate: Of learning.
        limits: What is done to the weights after that.
        zero_lag: Take the eligibility of this step instead.
        reduction: See above.
    """
    writer = Writer("mstdp", reduction)
    before, now = writer.state("e"), _eligibility(writer)
    writer.update("e", now)
    change = writer.over_samples(writer.input("reward") * (now if zero_lag else before))
    return writer.rule(writer.w + writer.param("rate", rate) * change, limits)


def _eligibility(writer: Writer) -> Symbol:
    pre, post = writer.input("pre"), writer.input("post")
    return writer.input("p_plus") * post + pre * writer.input("p_minus")


def mstdpet(
    rate: TensorLike,
    decay: TensorLike,
    tau: TensorLike,
    limits: Limits = _FREE,
    dt: float = 1.0,
    zero_lag: bool = False,
    reduction: str = "sum",
) -> Rule:
    """Return `mstdp` with a trace of the eligibility: z = z decay + e / tau, w += rate dt reward z.

    Equations 2.7 and 2.8 of the same paper.

    Args:
        rate: Of learning.
        decay: What a step leaves of z.
        tau: Time constant of z, in the unit of dt.
        limits: What is done to the weights after that.
        dt: The time step.
        zero_lag: Take the eligibility of this step into z and not that of the step before.
        reduction: See above.
    """
    writer = Writer("mstdpet", reduction)
    before, now = writer.state("e"), _eligibility(writer)
    writer.update("e", now)
    z = writer.state("z") * writer.param("decay", decay)
    z = z + (now if zero_lag else before) / writer.param("tau", tau)
    writer.update("z", z)
    step = as_float32(rate).numpy() * np.float32(dt)
    change = writer.param("rate", step) * writer.input("reward") * z
    return writer.rule(writer.w + writer.over_samples(change), limits)


def rmax(
    rate: TensorLike,
    left: TensorLike,
    ratio: TensorLike,
    limits: Limits = _FREE,
    reduction: str = "sum",
) -> Rule:
    """Return reward maximisation for neurons that spike at random.

    z = z left + (post - probability / (1 + ratio probability)) x_pre and w += rate reward z, where
    `probability` is that of a spike in this step. After E. Vasilaki et al., Spike-based
    reinforcement learning in continuous state and action space, PLoS Computational Biology 5(12),
    2009, equation 8.

    Args:
        rate: Of learning.
        left: What a step leaves of z: 1 - dt / tau.
        ratio: tau_c / dt: 0 is the gradient of the reward, large is Hebbian.
        limits: What is done to the weights after that.
        reduction: See above.
    """
    writer = Writer("rmax", reduction)
    post, p = writer.input("post"), writer.input("probability")
    expected = p / (1.0 + writer.param("ratio", ratio) * p)
    z = writer.state("z") * writer.param("left_of_z", left)
    z = z + (post - expected) * writer.input("x_pre")
    writer.update("z", z)
    change = writer.param("rate", rate) * writer.input("reward") * z
    return writer.rule(writer.w + writer.over_samples(change), limits)
