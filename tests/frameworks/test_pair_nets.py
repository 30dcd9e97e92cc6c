"""The networks of `pair_nets` do what measurements with them rely on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.framework

torch = pytest.importorskip("torch")

from tests.frameworks import pair_nets


@pytest.fixture(params=pair_nets.FRAMEWORKS)
def networks(request: pytest.FixtureRequest) -> dict[str, pair_nets.PairNet]:
    pytest.importorskip(request.param)
    torch.set_num_threads(1)
    return pair_nets.nets(request.param)


def ties(net: pair_nets.PairNet, x: Any) -> int:
    """Count the membranes that meet their threshold exactly, by watching torch's comparisons."""
    from torch.utils._python_dispatch import TorchDispatchMode

    found = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal found
            out = func(*args, **(kwargs or {}))
            name = str(func)
            if name.startswith(("aten.gt", "aten.ge")) and not net.batch_first:
                found += int((args[0] == 0).sum())  # v - threshold is compared with 0
            elif name == "aten.div.Tensor_mode":  # Sinabs counts the thresholds in v
                found += int(((args[0] >= args[1]) & (args[0] % args[1] == 0)).sum())
            return out

    with Watch():
        net.run(x)
    return found


def test_shapes_rates_and_ties(networks: dict[str, pair_nets.PairNet]) -> None:
    assert tuple(networks) == pair_nets.KINDS
    for kind, net in networks.items():
        x = net.inputs(200, 8)
        assert np.array_equal(x * 8, np.round(x * 8))
        out = net.run(x)
        assert out.shape == (200, 8, 10)
        assert 0.02 < (out > 0).mean() < 0.6, kind
        assert ties(net, x) > 0, kind


def test_every_run_starts_from_rest(networks: dict[str, pair_nets.PairNet]) -> None:
    for net in networks.values():
        x = net.inputs(20, 4)
        out = net.run(x)
        assert np.array_equal(net.run(x), out)
        assert np.array_equal(net.run(x[:, 1:2]), out[:, 1:2])  # another batch size, other steps
        assert np.array_equal(net.run(x[:12]), out[:12])
