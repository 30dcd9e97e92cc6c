"""How a script runs its network on a file; copied into it."""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
from typing import Any

import numpy as np
import torch


def arguments_of(text: str, ipus: int, replicas: int, argv: Any = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("input", help="a .npy, or a .npz with one array per input")
    parser.add_argument("-o", "--output", default="output.npz", help="default: output.npz")
    parser.add_argument("--stand-in", action="store_true", help="run on the CPU without PopTorch")
    what = "IPUs of a copy of the network; default: %(default)s"
    parser.add_argument("--ipus", type=int, default=ipus, metavar="N", help=what)
    what = "copies that share the batch; default: %(default)s"
    parser.add_argument("--replicas", type=int, default=replicas, metavar="N", help=what)
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.ipus <= ipus:
        raise SystemExit(f"--ipus must be 1 to {ipus}, the parts of the network")
    if arguments.replicas < 1:
        raise SystemExit("--replicas must be at least 1")
    return arguments


def chosen(poptorch: Any, stand_in: bool) -> Any:
    """Return PopTorch, or what stands beside this file for it."""
    if stand_in:
        path = pathlib.Path(__file__).resolve().parent / "poptorch_standin.py"
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise SystemExit(f"{path.name} is not beside this file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    if poptorch is None:
        raise SystemExit("PopTorch is not installed; --stand-in runs the network on the CPU")
    return poptorch


def options_of(poptorch: Any, parts: int, replicas: int) -> Any:
    """Return the options under which the network runs."""
    options = poptorch.Options()
    options.deviceIterations(1)
    options.replicationFactor(replicas)
    options.autoRoundNumIPUs(True)
    options.Precision.enableStochasticRounding(False)
    if parts > 1:
        stages = [poptorch.Stage(f"part_{k + 1}") for k in range(parts)]
        options.setExecutionStrategy(poptorch.ShardedExecution(*stages))
    return options


def sequences(given: Any, replicas: int) -> Any:
    """Return inputs [steps, batch, *shape] as tensors [batch, steps, *shape], and the batch.

    Samples of zeros are added until the replicas share them evenly.
    """
    sizes = {array.shape[:2] for array in given.values()}
    if len(sizes) > 1:
        raise SystemExit(f"the inputs differ in steps or samples: {sorted(sizes)}")
    steps, batch = sizes.pop()
    if not steps or not batch:
        raise SystemExit(f"the inputs have {steps} steps and {batch} samples")
    found = []
    for array in given.values():
        room = np.zeros((-(-batch // replicas) * replicas, steps) + array.shape[2:], np.float32)
        room[:batch] = np.moveaxis(array, 0, 1)
        found.append(torch.from_numpy(room))
    return found, batch


def read_weights(path: pathlib.Path) -> Any:
    """Read the arrays of the network."""
    import zipfile

    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as problem:
        raise SystemExit(f"cannot read {path.name}: {problem}") from None


def results(network: Any, poptorch: Any, options: Any, given: Any, replicas: int) -> Any:
    """Run the network; return its tensors as arrays [steps, batch, *shape]."""
    tensors, batch = sequences(given, replicas)
    found = poptorch.inferenceModel(network.eval(), options)(*tensors)
    found = [found] if isinstance(found, torch.Tensor) else list(found)
    return [np.moveaxis(y.detach().numpy()[:batch], 1, 0) for y in found]
