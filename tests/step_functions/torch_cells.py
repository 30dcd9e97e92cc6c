"""Neurons and networks as people write them in plain torch, for tests of `from_export`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers import dyadic


def grid(net: nn.Module, seed: int = 0) -> nn.Module:
    """Put weights on a grid, so that sums are exact in every order."""
    with torch.no_grad():
        for number, p in enumerate(net.parameters()):
            if p.ndim > 1 or p.shape == (6,):
                p.copy_(torch.from_numpy(dyadic(tuple(p.shape), seed + number)))
    return net.eval()


class Surrogate(torch.autograd.Function):
    """A step whose derivative is a fast sigmoid's."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] / (1 + 10 * x.abs()) ** 2


def spike(x: torch.Tensor) -> torch.Tensor:
    """Return the spikes of membranes less their thresholds."""
    return Surrogate.apply(x)


class HandLif(nn.Module):
    """A leaky neuron per unit, with a decay of its own that is trained as a logit."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 6)
        self.logit = nn.Parameter(torch.linspace(0.5, 3.0, 6))
        self.threshold = 0.75

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        beta = torch.sigmoid(self.logit)
        v = beta * v + self.fc(x)
        z = spike(v - self.threshold)
        return z, v - z * self.threshold


class Adaptive(nn.Module):
    """A threshold that rises with every spike, and a refractory time counted in steps."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 6, bias=False)
        self.register_buffer("tau", torch.tensor([10.0, 20.0, 30.0, 10.0, 5.0, 50.0]))

    def forward(self, x: torch.Tensor, state: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        decay = torch.exp(-1.0 / self.tau)
        v, b, left = state["v"], state["b"], state["left"]
        v = torch.where(left > 0, v, decay * v + self.fc(x))
        z = spike(v - (0.5 + 0.25 * b))
        left = torch.where(z > 0, 2, torch.clamp(left - 1, min=0))
        return z, {"v": v.masked_fill(z > 0, 0.0), "b": torch.lerp(z, b, 0.9375), "left": left}


class AdexState(NamedTuple):
    """Membrane, adaptation and filtered input."""

    v: torch.Tensor
    w: torch.Tensor
    i: torch.Tensor


def adex(state: AdexState, x: torch.Tensor) -> tuple[AdexState, torch.Tensor]:
    """Step an adaptive exponential neuron in millivolts and milliseconds."""
    dt, leak, slope, threshold, tau, peak = 0.5, -65.0, 2.0, -50.0, 20.0, -40.0
    i = 0.875 * state.i + 100.0 * x
    rise = slope * torch.exp(torch.clamp((state.v - threshold) / slope, max=10.0))
    v = state.v + dt / tau * (leak - state.v + rise - state.w + i)
    w = state.w + dt / 100.0 * (0.5 * (state.v - leak) - state.w)
    z = (v > peak).float()
    return AdexState(torch.where(z.bool(), leak, v), w + 5.0 * z, i), z


class Recurrent(nn.Module):
    """Two layers, the first with recurrent weights on its spikes of the step before."""

    def __init__(self) -> None:
        super().__init__()
        self.w_in = nn.Parameter(torch.zeros(12, 6))
        self.w_rec = nn.Parameter(torch.zeros(6, 6))
        self.readout = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        (z, v), out = state
        v = 0.875 * v * (1 - z) + x @ self.w_in + torch.matmul(z, self.w_rec)
        z = spike(v - 1.0)
        return (out := 0.9 * out + self.readout(z)), ((z, v), out)


class DelayLine(nn.Module):
    """A neuron behind a delay of three steps, kept in an array that starts with ones."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 6)

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        line, v = state["line"], state["v"]
        v = 0.75 * v + line[:, 2]
        z = spike(v - 1.0)
        line = torch.cat([self.fc(x)[:, None], line[:, :-1]], 1)
        return z, {"line": line, "v": v - z}


class Buffered(nn.Module):
    """A neuron that keeps its membrane in a buffer and changes it in place."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 6)
        self.v: torch.Tensor
        self.register_buffer("v", torch.full((1, 6), 0.25))
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.v = self.v.mul(0.75).add(self.fc(x), alpha=0.5)
        z = self.v.ge(0.5)
        self.v[z] = 0.0
        self.seen.append(z)
        return z.float()


class InPlace(nn.Module):
    """A neuron whose membrane is a buffer of the size of the batch, written to."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 6)
        self.register_buffer("v", torch.zeros(3, 6))
        self.register_buffer("beta", torch.tensor(0.9))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.v.mul_(self.beta).add_(self.fc(x))
        z = self.v >= 0.5
        self.v.masked_fill_(z, 0.125)
        return z.float()


def two_streams(x: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> tuple[Any, Any]:
    """Add two inputs in turns: the one in even steps, the other in odd ones."""
    count = state["count"]
    turn = count - 2 * torch.floor(count / 2)
    fast = 0.5 * state["fast"] + torch.where(turn > 0, x["left"], x["right"])
    z = (fast > 0.75).float()
    state = {"count": count + 1, "fast": fast * (1 - z)}
    return {"spikes": z, "phase": fast * turn}, state


class Stacked(nn.Module):
    """Two convolutions with normalisation, neurons that keep plain attributes, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.block2 = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(6, 3)
        self.lif1, self.lif2 = Attribute(), Attribute()
        with torch.no_grad():
            norm: Any = self.block1[1]
            norm.running_mean.copy_(torch.linspace(-0.5, 0.5, 4))
            norm.running_var.copy_(torch.linspace(0.3, 2.0, 4))
            norm.weight.copy_(torch.linspace(0.6, 1.4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.lif1(self.block1(x)), 2)
        x = self.lif2(self.block2(x)).flatten(1)
        return self.head(x)


class Attribute(nn.Module):
    """A neuron whose membrane is an attribute, made at the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.v: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.v is None:
            self.v = torch.zeros_like(x)
        self.v = torch.addcmul(x, self.v, torch.tensor(0.875))
        z = (self.v > 0.5).float()
        self.v = self.v - self.v * z
        return z


class Functional(nn.Module):
    """A linear layer and a cell of some library that is given its state and returns it."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 6)
        self.cell = cell

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        z, *new = self.cell(self.fc(x), *state)
        return z, tuple(new)


class ByFunction(nn.Module):
    """A linear layer and a step function (input, state) to (spikes, state)."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 6)
        self.function = function

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.function(self.fc(x), v)  # type: ignore[no-any-return]


def hidden_snntorch() -> nn.Module:
    """Return a network of snnTorch whose neurons keep their membranes themselves."""
    import snntorch

    first = snntorch.Leaky(beta=0.9, init_hidden=True)
    last = snntorch.Synaptic(alpha=0.75, beta=0.5, init_hidden=True)
    return nn.Sequential(nn.Linear(12, 6), first, nn.Linear(6, 4), last)
