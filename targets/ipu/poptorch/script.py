"""The files of a PopTorch script: the network, its weights, and the stand-in for PopTorch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from snnir import folder_program
from snnir.embedding import function_sources
from snnir.ir.graph import Graph
from snnir.target import Content
from snnir.targets.ipu.poptorch.network import Writer
from snnir.targets.ipu.poptorch.sources import COMMAND, PIECES, STANDIN, functions, text_of

HALF = "Weights and biases are kept in float16 and cast before use.\n"
PROGRAM, WEIGHTS = "model_poptorch.py", "weights.npz"

_HEAD = '''\
"""A spiking network as a PopTorch model, written by snnir.

    python {program} INPUT.npy|INPUT.npz [-o OUT.npz] [--stand-in] [--ipus N] [--replicas N]

Inputs and outputs of the files are [steps, batch, *shape]. The network itself takes and gives
[batch, steps, *shape], and runs all steps in a loop on the device:

    model = poptorch.inferenceModel(Network(weights), options)
    y = model(x)

Written for Python 3.8, torch 2.0 and PopTorch 3.4. Scripts like this were tested with the stand-in
beside this file, never on an IPU. Everything is computed in float32, programs of integers in int32.
Every operation of a neuron rounds once; sums are in the order that torch or the device chooses.
{half}"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
from collections.abc import Mapping
from math import inf, nan
from typing import Any

try:
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as missing:
    raise SystemExit(f"this script needs NumPy and torch: {{missing}}")
try:
    import poptorch
except ImportError:
    poptorch = None  # see `chosen`

WEIGHTS = {weights!r}
#: Shape of every input, and which tensor of the result is which output.
INPUTS = {inputs}
OUTPUTS = {outputs}
#: Parts of the network, each on one IPU; the batch is shared by the replicas.
PARTS, IPUS, REPLICAS = {parts}, {parts}, {replicas}
'''

_MAIN = '''

def main(argv=None):
    """Run the network on a file."""
    global poptorch
    arguments = arguments_of(__doc__, IPUS, REPLICAS, argv)
    poptorch = chosen(poptorch, arguments.stand_in)
    given = read_inputs(arguments.input, INPUTS)
    weights = read_weights(pathlib.Path(__file__).resolve().parent / WEIGHTS)
    try:
        network = Network(weights, arguments.ipus)
    except KeyError as missing:
        raise SystemExit(f"{WEIGHTS} has no array {missing}") from None
    options = options_of(poptorch, PARTS, arguments.replicas)
    found = results(network, poptorch, options, given, arguments.replicas)
    outputs = {name: found[place] for name, place in OUTPUTS.items()}
    write_results(arguments.output, outputs, {}, {})
    for name, y in outputs.items():
        print(f"{name}: {y.shape}, sum {y.sum(dtype=np.float64):g}")


if __name__ == "__main__":
    main()
'''


@dataclass(frozen=True)
class ScriptOptions:
    """What a script is written for.

    Attributes:
        half: Keep weights and biases in float16; they are cast to float32 before use.
        replicas: Copies of the network that share the batch.
        ipus: IPUs of a copy; the network is divided into at most so many parts.
    """

    half: bool = False
    replicas: int = 1
    ipus: int = 1


def poptorch_files(graph: Graph, options: ScriptOptions) -> dict[str, Content]:
    """Return the files of a script.

    Args:
        graph: A verified, discrete graph in which `fit.unsupported` finds nothing.
        options: What the script is written for.
    """
    writer = Writer(graph, options.ipus, options.half)
    network = writer.network()
    own = "\n\n\n".join([*writer.functions(), network])
    text = _assembled(_head(graph, options, writer), own)
    return {
        PROGRAM: text.encode("ascii"),
        WEIGHTS: partial(_write_weights, writer.weights),
        STANDIN: text_of(STANDIN).encode("utf-8"),
    }


def _head(graph: Graph, options: ScriptOptions, writer: Writer) -> str:
    inputs = {name: signal.shape for name, signal in graph.inputs.items()}
    return _HEAD.format(
        program=PROGRAM, weights=WEIGHTS, inputs=ascii(inputs), outputs=ascii(writer.outputs()),
        parts=max(1, len(writer.parts)), replicas=options.replicas,
        half=HALF if options.half else "",
    )  # fmt: skip


def _assembled(head: str, own: str) -> str:
    """Return the script: the network first, then what is the same for every network."""
    used = {name for name in functions(PIECES) if re.search(rf"\b{name}\(", own)}
    rule = "# ---- the same for every network " + "-" * 50
    running = functions(COMMAND).values()
    files = function_sources(folder_program, {"read_inputs", "write_results"})
    called = [text for name, text in functions(PIECES).items() if name in used]
    parts = [head, *called, own, rule, *running, *files]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n" + _MAIN


def _write_weights(weights: Mapping[str, npt.NDArray[Any]], file: BinaryIO) -> None:
    """Write an uncompressed .npz, array by array, with the same bytes every time."""
    import zipfile

    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for key, value in weights.items():
            entry = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, value, allow_pickle=False)
