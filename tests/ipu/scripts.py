"""Runs PopTorch scripts in this process, from the files alone."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import snnir
from snnir.ir import Graph
from snnir.targets.ipu.poptorch.script import ScriptOptions, poptorch_files

PLAIN = ScriptOptions()


def write(built: Graph, folder: Path, options: ScriptOptions = PLAIN) -> None:
    """Write the files of a script."""
    for name, content in poptorch_files(built, options).items():
        with open(folder / name, "wb") as file:
            file.write(content) if isinstance(content, bytes) else content(file)


def load(path: Path) -> Any:
    """Return a file as a module that nothing else knows."""
    spec = importlib.util.spec_from_file_location(f"in_test_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(built: Graph, xs: Mapping[str, Any], options: ScriptOptions = PLAIN) -> dict[str, Any]:
    """Return what the script gives for [steps, batch, *shape], with the stand-in."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(built, folder, options)
        script = load(folder / "model_poptorch.py")
        script.poptorch = script.chosen(None, True)
        weights = script.read_weights(folder / "weights.npz")
    network = script.Network(weights, script.IPUS)
    how = script.options_of(script.poptorch, script.PARTS, options.replicas)
    given = {name: xs[name] for name in script.INPUTS}
    found = script.results(network, script.poptorch, how, given, options.replicas)
    return {name: found[place] for name, place in script.OUTPUTS.items()}


def shown(built: Graph) -> Graph:
    """Return the graph with every value of it as an output."""
    from snnir.ir import Step, Value

    edited = built.edit()
    for node in built.nodes.values():
        for k in range(len(node.op.program.outputs) if isinstance(node.op, Step) else 1):
            edited.outputs[f"{node.name}/{k}"] = Value(node.name, k)
    return edited.graph()


def reference(built: Graph, xs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the NumPy target gives."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(snnir.compile(built, "numpy", level=0).run(xs).outputs)


def check(
    built: Graph, xs: Mapping[str, Any], options: ScriptOptions = PLAIN, rtol: float = 0.0
) -> None:
    """Every value of the graph is that of the NumPy target."""
    discrete = snnir.compile(built, "numpy", level=0).graph
    every = shown(discrete)
    want, got = reference(every, xs), run(every, xs, options)
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert got[name].shape == value.shape, name
        assert got[name].dtype == np.float32
        if rtol:
            np.testing.assert_allclose(got[name], value, rtol=rtol, atol=rtol, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], value, name)


def bytes_of(content: Any) -> bytes:
    """Return the content of a file."""
    if isinstance(content, bytes):
        return content
    stream = io.BytesIO()
    content(stream)
    return stream.getvalue()


def files(built: Graph, options: ScriptOptions = PLAIN) -> Mapping[str, Any]:
    """Return the files of a script."""
    return poptorch_files(built, options)
