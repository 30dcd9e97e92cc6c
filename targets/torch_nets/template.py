"""The fixed parts of generated files."""

from __future__ import annotations

from snnir.dynamics import fused
from snnir.embedding import function_sources

HEAD = '''\
"""{title}: a spiking network for {framework}, written by snnir.

    from model import load
    net = load()          # the weights are in {weights}, beside this file
    y = net(x)            # [{axes}, ...]; every call starts at rest

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE]   # [T, B, ...]

Needs torch, safetensors and {framework}; tested with {framework} {version}.
"""

from __future__ import annotations

import argparse
import difflib
import json
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

{imports}
'''

HELPERS = {
    "norse_reset_subtract": """\
from norse.torch.functional.reset import reset_subtract as norse_reset_subtract
""",
    "Scale": '''\
class Scale(nn.Module):
    """y = scale * x."""

    SNNIR_OP = "scale"

    def __init__(self, shape):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return self.scale * x
''',
    "Bias": '''\
class Bias(nn.Module):
    """y = x + bias."""

    SNNIR_OP = "bias"

    def __init__(self, shape):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x):
        return x + self.bias
''',
    "Fused": "\n\n\n".join(function_sources(fused, {"snn_fma"}))
    + '''


class Fused(torch.autograd.Function):
    """a * b + c rounded once, with its gradient."""

    @staticmethod
    def forward(ctx, a, b, c, xp):
        ctx.save_for_backward(a, b, c)
        return snn_fma(a, b, c, xp)

    @staticmethod
    def backward(ctx, g):
        a, b, c = ctx.saved_tensors
        found = zip((g * b, g * a, g), (a, b, c), strict=True)
        return (*(value.sum_to_size(like.shape) for value, like in found), None)
''',
    "Winner": '''\
class Winner(nn.Module):
    """1 for the first largest element of each sample if it is above 0, else 0."""

    SNNIR_OP = "winner"

    def forward(self, x):
        best = nn.functional.one_hot(x.argmax(1), x.shape[1])
        return ((x > 0) & (best > 0)).to(x.dtype)
''',
}

MAIN = '''\
INPUTS = {inputs}
OUTPUTS = {outputs}
NODES = {nodes}
BATCH_FIRST = {batch_first}
LAYERWISE = {layerwise}


def load(path=None):
    """Return the network with its weights, ready to evaluate."""
    from safetensors.torch import load_file

    file = pathlib.Path(__file__).parent / "model.safetensors" if path is None else path
    net = Net()
    known = net.load_state_dict(load_file(file), strict=False)
    if known.unexpected_keys:
        raise SystemExit(f"{{file}}: unexpected weights {{known.unexpected_keys}}")
    return net.eval()


def run(inputs, record=()):
    """Return outputs and records as [T, B, ...] by name, and the sum of every population."""
    net = load()
    seen = {{node: [] for node in NODES}}
    for node, attribute in NODES.items():
        def note(module, given, result, node=node):
            spikes = result[0] if isinstance(result, tuple) else result
            if LAYERWISE:  # a whole sequence
                seen[node] += spikes.transpose(0, 1) if BATCH_FIRST else spikes
            else:
                seen[node].append(spikes.squeeze(1) if BATCH_FIRST else spikes)

        getattr(net, attribute).register_forward_hook(note)
    given = [x.transpose(0, 1) if BATCH_FIRST else x for x in inputs]
    with torch.no_grad():
        result = net(*given)
    results = result if isinstance(result, tuple) else (result,)
    outputs = {{n: y.transpose(0, 1) if BATCH_FIRST else y for n, y in zip(OUTPUTS, results)}}
    sums = {{node: float(sum(y.double().sum() for y in steps)) for node, steps in seen.items()}}
    return outputs, {{node: torch.stack(seen[node]) for node in record}}, sums


def main():
    arguments = command_line(__doc__).parse_args()
    check_record(arguments.record, NODES)
    given = read_inputs(arguments.input, INPUTS)
    inputs = [torch.as_tensor(x.astype("float32")) for x in given.values()]
    outputs, records, sums = run(inputs, arguments.record)
    write_results(
        arguments.output, {{name: y.numpy() for name, y in outputs.items()}},
        {{name: y.numpy() for name, y in records.items()}}, sums,
    )
    print(json.dumps({{name: list(y.shape) for name, y in outputs.items()}}))


if __name__ == "__main__":
    main()
'''
