"""What docs/bindsnet.md shows works."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.bindsnet_nets.nets import torch
from tests.helpers import ROOT

pytestmark = pytest.mark.framework


def test_the_examples_run() -> None:
    page = (ROOT / "docs" / "bindsnet.md").read_text("utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert names["weights"].shape == (10, 20)
    torch.manual_seed(0)
    spikes: list[Any] = []
    network = names["network"]
    forward = network.layers["Y"].forward

    def noted(x: Any) -> None:
        forward(x=x)
        spikes.append(network.layers["Y"].s.numpy().copy())

    network.layers["Y"].forward = noted
    network.run({"X": torch.tensor(names["x"])}, time=100)
    assert np.array_equal(np.stack(spikes), names["result"].outputs["Y"])
    assert np.any(spikes)
