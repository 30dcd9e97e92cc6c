"""The stand-in for PopTorch does what scripts need, and refuses everything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from snnir.targets.ipu.poptorch.sources import text_of

pytest.importorskip("torch")
import torch

from snnir.targets.ipu.poptorch import poptorch_standin

poptorch: Any = poptorch_standin  # it is called in wrong ways too

ONE = torch.zeros(1, dtype=torch.int32)
X = torch.arange(12.0).reshape(3, 4)


def executed(function: Callable[..., Any], *inputs: Any, options: Any = None) -> Any:
    """Run a function as the forward pass of a network."""

    class Model(torch.nn.Module):
        def forward(self, *tensors: Any) -> Any:
            return function(*tensors)

    return poptorch.inferenceModel(Model(), options)(*inputs)


def test_what_is_let_through_was_found_in_public_files() -> None:
    table = json.loads(text_of("torch_names.json"))
    assert [row["name"] for row in table] == sorted(poptorch.FUNCTIONS)
    assert all(set(row) == {"name", "repo", "path", "line"} for row in table)
    assert {row["repo"] for row in table} == {"graphcore/poptorch"}
    assert all(type(row["line"]) is int and row["line"] > 0 for row in table)


def test_a_loop_runs_the_body_so_many_times() -> None:
    def body(t: Any, x: Any, ys: Any) -> Any:
        now = poptorch.dynamic_slice(x, 1, t, 1, 1)
        return t + 1, x, poptorch.dynamic_update(ys, now * 2.0, 1, t, 1)

    t, x, ys = poptorch.for_loop(3, body, [ONE, X, torch.zeros(3, 4)])
    assert t.item() == 3
    assert torch.equal(x, X)
    assert torch.equal(ys[:, :3], X[:, :3] * 2)
    assert (ys[:, 3] == 0).all()


def test_the_body_gets_copies() -> None:
    inputs = [torch.zeros(2)]
    assert poptorch.for_loop(0, lambda x: x, inputs)[0] is not inputs[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((2.0, lambda x: x, [X]), "constant number"),
        ((torch.tensor(2), lambda x: x, [X]), "constant number"),
        ((2, lambda x: x, (X,)), "in a list, got tuple"),
        ((2, lambda x: x, X), "in a list, got Tensor"),
        ((2, lambda x, y: (x, y), [X, 5]), "element 1 of for_loop's list is no tensor"),
        ((2, lambda x: x, [X.double()]), "torch.float64, which the device does not have"),
        ((2, lambda x: x, [X.long()]), "torch.int64, which the device does not have"),
        ((2, lambda x, y: x, [X, X]), "takes 2 tensors and returns 1"),
        ((2, lambda x: 3, [X]), "returns 3 as element 0"),
        ((2, lambda x: x[:1], [X]), "takes \\[3, 4\\] torch.float32 as element 0 and returns"),
        ((2, lambda x: x.int(), [X]), "returns \\[3, 4\\] torch.int32"),
        ((2, lambda x, y: (x + y, x), [X, X]), "element 1 what it was given in another place"),
    ],
)
def test_wrong_loops(arguments: Any, words: str) -> None:
    with pytest.raises(poptorch.Error, match=words):
        poptorch.for_loop(*arguments)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (torch.sort, "sort"),
        (lambda x: x.argmax(1), "argmax"),
        (torch.trunc, "trunc"),
        (lambda x: 1.0 / x, "rdiv|rtruediv|reciprocal"),
        (lambda x: x.add_(1.0), "add_"),
        (lambda x: x.sum().item(), "item"),
        (lambda x: x.double(), "double"),
        (lambda x: x.to(torch.float64), "to"),
        (lambda x: torch.nn.functional.avg_pool2d(x[None], 2), "avg_pool2d"),
        (lambda x: torch.nn.functional.one_hot(x.int().long()), "long"),
        (lambda x: x.sort(), "sort"),
        (lambda x: torch.index_add(x, 0, ONE, x[:1]), "index_add"),
        (lambda x: torch.zeros(2, dtype=torch.float64), "result of torch.zeros is torch.float64"),
        (lambda x: torch.cumsum(x.int(), 0), "result of torch.cumsum is torch.int64"),
        (lambda x: x[x > 1.0], "indexed by constants"),
        (lambda x: x[ONE[0] :], "indexed by constants|item|getitem|index"),
        (lambda x: x if x.sum() > 0 else -x, "bool"),
    ],
)
def test_operators_that_poptorch_does_not_have(function: Any, name: str) -> None:
    with pytest.raises(poptorch.Error, match=name):
        executed(function, X.clone())
    with pytest.raises(poptorch.Error, match=name):
        poptorch.for_loop(1, function, [X.clone()])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: poptorch.dynamic_slice(X, 1, 2, 1, 1), "a tensor as start"),
        (lambda: poptorch.dynamic_slice(X, 1, torch.tensor([1]), 1, 1), "int32"),
        (lambda: poptorch.dynamic_slice(X, 1, ONE, 3, 1), "3 elements where there are 4"),
        (lambda: poptorch.dynamic_slice(X, 1, ONE + 4, 1, 1), "from 4 is outside of 4"),
        (lambda: poptorch.dynamic_slice(X, 1, ONE, 2, 2), "a step of 1"),
        (lambda: poptorch.dynamic_slice(X, 1, ONE, 0, 1), "at least 1"),
        (lambda: poptorch.dynamic_update(X, X[:, 0], 1, ONE, 1), "number of axes"),
        (lambda: poptorch.dynamic_update(X, X[:, :1].int(), 1, ONE, 1), "the same type"),
        (lambda: poptorch.dynamic_update(X, X[:2, :1], 1, ONE, 1), "takes \\[3, 1\\]"),
        (lambda: poptorch.Options().deviceIterations(0), "at least 1"),
        (lambda: poptorch.Options().replicationFactor("2"), "whole number"),
        (lambda: poptorch.Options().autoRoundNumIPUs(1), "True or False"),
        (lambda: poptorch.Options().setExecutionStrategy(None), "ShardedExecution"),
        (lambda: poptorch.Options().Precision.enableStochasticRounding(True), "switched off"),
        (lambda: poptorch.ShardedExecution("a"), "stages"),
        (lambda: poptorch.Stage(1), "names of blocks"),
        (lambda: poptorch.Block("a"), "number of an IPU"),
        (lambda: poptorch.inferenceModel(lambda x: x), "torch.nn.Module"),
        (lambda: poptorch.inferenceModel(torch.nn.Linear(1, 1), {}), "poptorch.Options"),
        (
            lambda: poptorch.inferenceModel(torch.nn.Linear(1, 1).double()),
            "weight is torch.float64",
        ),
    ],
)
def test_wrong_arguments(call: Any, words: str) -> None:
    with pytest.raises(poptorch.Error, match=words):
        call()


@pytest.mark.parametrize(
    "name",
    ["trainingModel", "custom_op", "cond", "Options.useIpuModel", "Options.Training",
     "Options.Precision.setPartialsType"],
)  # fmt: skip
def test_names_that_scripts_do_not_use(name: str) -> None:
    owner: Any = poptorch
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
        owner = owner() if isinstance(owner, type) else owner
    with pytest.raises(AttributeError, match=f"stand-in has no (option )?'{last}'"):
        getattr(owner, last)


def test_inputs_are_divided_between_replicas() -> None:
    seen = []

    def forward(x: Any, y: Any) -> Any:
        seen.append(x.shape[0])
        return x + y, x * 2.0

    options = poptorch.Options().replicationFactor(2)
    x = torch.arange(8.0).reshape(4, 2)
    total, double = executed(forward, x, x, options=options)
    assert seen == [2, 2]
    assert torch.equal(total, x + x)
    assert torch.equal(double, x * 2)
    with pytest.raises(poptorch.Error, match="3 samples for 2 replicas"):
        executed(forward, x[:3], x[:3], options=options)
    with pytest.raises(poptorch.Error, match=r"input 0 is torch\.int64"):
        executed(forward, x.long(), x)
    with pytest.raises(poptorch.Error, match="input 0 is no tensor"):
        executed(forward, 3, x)


def test_a_network_is_compiled_for_one_shape() -> None:
    model = poptorch.inferenceModel(torch.nn.Linear(3, 2))
    model(torch.zeros(4, 3))
    with pytest.raises(poptorch.Error, match="other shapes"):
        model(torch.zeros(5, 3))


def blocks(*names: str, nested: bool = False) -> Any:
    def forward(x: Any) -> Any:
        for place, name in enumerate(names):
            with poptorch.Block(name, ipu_id=place):
                x = x + 1.0
                if nested:
                    with poptorch.Block(name, ipu_id=place):
                        pass
        return x

    return forward


def test_blocks_are_stages() -> None:
    stages = poptorch.ShardedExecution(*(poptorch.Stage(name) for name in "abc"))
    options = poptorch.Options().setExecutionStrategy(stages)
    assert torch.equal(executed(blocks("a", "b"), X, options=options), X + 2)
    with pytest.raises(poptorch.Error, match="3 IPUs are no power of two"):
        executed(blocks("a", "b", "c"), X, options=options)
    options.autoRoundNumIPUs(True)
    assert torch.equal(executed(blocks("a", "b", "c"), X, options=options), X + 3)
    with pytest.raises(poptorch.Error, match="'d' is no stage"):
        executed(blocks("d"), X, options=options)
    with pytest.raises(poptorch.Error, match="'a' is no stage"):
        executed(blocks("a"), X)
    with pytest.raises(poptorch.Error, match="begins inside"):
        executed(blocks("a", nested=True), X, options=options)
