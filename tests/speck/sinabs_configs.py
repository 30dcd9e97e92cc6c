"""Sinabs' configurations and ours of the same networks, as JSON; run alone, see fake_samna."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.speck import fake_samna

fake_samna.install()

import sinabs.layers as sl
import torch
from sinabs.backend.dynapcnn import DynapcnnNetwork
from sinabs.backend.dynapcnn.chip_factory import ChipFactory
from torch import nn

import snnir


def spiking(**options: Any) -> Any:
    return sl.IAFSqueeze(batch_size=1, min_v_mem=-1.0, **options)


def lenet() -> tuple[Any, tuple[int, ...]]:
    """Return the network of Sinabs' documentation."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5, bias=False), spiking(), nn.AvgPool2d(2),
        nn.Conv2d(20, 32, 5, bias=False), spiking(), nn.AvgPool2d(2),
        nn.Conv2d(32, 128, 3, bias=False), spiking(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(128, 500, bias=False), spiking(),
        nn.Linear(500, 10, bias=False), spiking(),
    ), (1, 28, 28)  # fmt: skip


def strided() -> tuple[Any, tuple[int, ...]]:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1, bias=False), spiking(),
        nn.Conv2d(8, 4, 4, padding=1, bias=False), spiking(reset_fn=zero()),
        nn.Flatten(), nn.LazyLinear(7, bias=False), spiking(),
    ), (2, 16, 16)  # fmt: skip


def zero() -> Any:
    from sinabs.activation import MembraneReset

    return MembraneReset()


class Branch(nn.Module):
    """Two paths that are added."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.iaf1 = nn.Conv2d(2, 4, 3, padding=1, bias=False), spiking()
        self.conv2, self.iaf2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), spiking()
        self.merge = sl.Merge()
        self.conv3, self.iaf3 = nn.Conv2d(4, 5, 3, bias=False), spiking()

    def forward(self, x: Any) -> Any:
        first = self.iaf1(self.conv1(x))
        second = self.iaf2(self.conv2(first))
        return self.iaf3(self.conv3(self.merge(first, second)))


def branch() -> tuple[Any, tuple[int, ...]]:
    return Branch(), (2, 9, 9)


def plain(value: Any) -> Any:
    """Return a stand-in's fields as JSON."""
    if isinstance(value, fake_samna.Record):
        return {name: plain(field) for name, field in vars(value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, torch.Tensor) else value


def theirs(net: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return cores, in order of layers, as Sinabs configures them."""
    made = DynapcnnNetwork(snn=net, input_shape=shape, discretize=True, dvs_input=False)
    builder = ChipFactory("speck2fdevkit").get_config_builder()
    cores = builder.map_layers_to_cores(made.dynapcnn_layers)
    targets = made.layer_destination_map
    config = builder.build_config(made.all_layers, cores, targets)
    layers = {n: plain(config.cnn_layers[core]) for n, core in sorted(cores.items())}
    return {"cores": {str(n): core for n, core in cores.items()}, "layers": list(layers.values())}


def ours(net: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return cores, in order of layers, as we configure them."""
    graph = snnir.from_torch(net, shape)
    built: Any = snnir.compile(graph, "speck", chip="speck2f")
    facts = json.loads(built.files["config.json"])
    cores = [facts["cnn_layers"][core] for core in built.plan.placement.cores.values()]
    fits = [built.plan.placement.candidates(name) for name in built.plan.placement.cores]
    return {"cores": built.plan.placement.cores, "layers": cores, "fits": fits}


def main() -> None:
    found = {}
    for make in (lenet, strided, branch):
        torch.manual_seed(3)
        net, shape = make()
        with torch.no_grad():
            net(torch.zeros(1, *shape))
        for module in net.modules():
            if hasattr(module, "reset_states"):
                module.reset_states()
        found[make.__name__] = {"ours": ours(net, shape), "theirs": theirs(net, shape)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
