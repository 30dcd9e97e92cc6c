"""BindsNET's own learning rules, stepped on given spikes and traces."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]


def bindsnet(module: str) -> Any:
    """Import one part of BindsNET without the libraries that its package asks for."""
    pytest.importorskip("torch")
    found = importlib.util.find_spec("bindsnet") if "bindsnet" not in sys.modules else None
    if "bindsnet" not in sys.modules:
        if found is None:
            pytest.skip("needs bindsnet")
        package = types.ModuleType("bindsnet")
        package.__path__ = list(found.submodule_search_locations or ())
        package.__spec__ = found
        sys.modules["bindsnet"] = package
    importlib.import_module("bindsnet.network")  # the others import each other in a circle
    return importlib.import_module(f"bindsnet.{module}")


def stepped(
    rule: str,
    weights: Array,
    given: Mapping[str, Array],
    connection: Mapping[str, Any],
    update: Mapping[str, Any],
    synapses: str = "Connection",
) -> Array:
    """Return BindsNET's weights [pre, post] after the rule saw spikes and traces [steps, batch, n].

    Args:
        rule: Name of its class.
        weights: At the start, [pre, post].
        given: `pre`, `x_pre`, `post`, `x_post`, and what the class needs besides.
        connection: Options of the connection.
        update: Options of every update.
        synapses: Name of the class of the connection.
    """
    import torch

    nodes, topology = bindsnet("network.nodes"), bindsnet("network.topology")
    learning = bindsnet("learning")
    kind = nodes.SRM0Nodes if rule == "Rmax" else nodes.Input
    source = nodes.Input(n=weights.shape[0], traces=True, traces_additive=True)
    target = kind(n=weights.shape[1], traces=True)
    made = getattr(topology, synapses)(
        source, target, update_rule=getattr(learning, rule), w=torch.tensor(weights), **connection
    )
    made.dt = 1.0
    source.batch_size = target.batch_size = given["pre"].shape[1]
    tensors = {name: torch.tensor(np.asarray(value)) for name, value in given.items()}
    for step in range(len(given["pre"])):
        source.s, source.x = tensors["pre"][step].bool(), tensors["x_pre"][step]
        target.s, target.x = tensors["post"][step].bool(), tensors["x_post"][step]
        target.s_prob = tensors.get("probability", tensors["x_post"])[step]
        options = dict(update)
        if "reward" in given:
            options["reward"] = tensors["reward"][step, 0, 0]
        made.update(**options)
    done: Array = made.w.to_dense().numpy() if made.w.is_sparse else made.w.numpy()
    return done
