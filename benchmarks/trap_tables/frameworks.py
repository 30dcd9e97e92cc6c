"""What a framework's own export and import keep of its own network."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

import snnir
from benchmarks.trap_tables.common import MODEL, differing, markdown, number, pictures
from snnir.ir import Linear


def round_trip() -> str:
    """SnnTorch to NIR and back to snnTorch, the digits' weights and three resets."""
    import snntorch
    import torch
    from snntorch.export_nir import export_to_nir
    from snntorch.import_nir import import_from_nir

    graph = snnir.load(MODEL)
    images, _ = pictures()
    x = torch.from_numpy(images)
    rows = []
    for reset, delay in (("subtract", True), ("subtract", False), ("zero", True)):
        net = torch.nn.Sequential()
        for name, size in (("fc1", 128), ("fc2", 10)):
            op = graph[name].op
            assert isinstance(op, Linear)
            assert op.bias is not None
            layer = torch.nn.Linear(*reversed(op.weight.shape))
            layer.weight.data = torch.from_numpy(np.array(op.weight.numpy()))
            layer.bias.data = torch.from_numpy(np.array(op.bias.numpy()))
            beta = torch.full((size,), 0.9375)
            neuron = snntorch.Leaky(
                beta, threshold=torch.ones(size), init_hidden=True, reset_mechanism=reset,
                reset_delay=delay, output=name == "fc2",
            )  # fmt: skip
            net.append(layer).append(neuron)
        with contextlib.redirect_stdout(io.StringIO()):
            exported = export_to_nir(net, x[0, :1], ignore_dims=[0])
            back = import_from_nir(exported)
        ours = snnir.export(snnir.from_torch(net, input_shape=(64,), layout="step"), "snntorch")
        first = _run(net, x)
        with torch.no_grad():
            kept = _first(ours(x)).numpy()
        rows.append(
            (f"`{reset}`, `reset_delay={delay}`", number(first.sum()),
             number(differing(first, _run(back, x))), number(differing(first, kept)))
        )  # fmt: skip
    head = ("`snn.Leaky`", "output spikes", "that differ after snnTorch → NIR → snnTorch",
            "after snnTorch → snnir → snnTorch")  # fmt: skip
    return markdown(head, rows)


def _run(net: Any, x: Any) -> Any:
    """Return the spikes [T, B, 10] of a net that keeps its state, or is handed it."""
    import torch
    from snntorch import utils

    spikes = []
    with torch.no_grad():
        with contextlib.suppress(AttributeError):
            utils.reset(net)
        state = None
        for step in x:
            try:
                out = net(step, state)
            except TypeError:
                out = net(step)
            if isinstance(out, tuple):
                state = out[1]
            spikes.append(_first(out))
    return torch.stack(spikes).numpy()


def _first(out: Any) -> Any:
    """Return the spikes of what a module gives: they are first, before the membrane or state."""
    return out[0] if isinstance(out, tuple) else out
