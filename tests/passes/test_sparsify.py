"""Sparse matrices: made where they pay, run alike everywhere, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import snnir
from snnir.ir import Graph, Linear, SparseLinear
from snnir.ir.file import read_snnir, write_snnir
from tests.helpers import cli, lif_step, recurrent, spikes
from tests.passes.nets import nets
from tests.passes.test_folding import spiking
from tests.passes.test_quantize import TARGETS, readout, recorded
from tests.targets import side_by_side


def layered(density: float, rows: int = 1) -> Graph:
    """Return a layer of 64 on 100 inputs whose weights come in so many rows at a time."""
    rng = np.random.default_rng(0)
    held = np.repeat(rng.random((64 // rows, 100)) < density, rows, axis=0)
    weight = (rng.integers(-8, 9, (64, 100)) / 8 * held).astype(np.float32)
    return spiking((100,), Linear(snnir.Tensor(weight)), lif_step())


def op_of(built: Graph) -> Any:
    return built["linear"].op


@pytest.mark.parametrize(("density", "rows", "block"), [(0.02, 1, 1), (0.2, 16, 16), (0.5, 1, 0)])
def test_only_what_pays_becomes_sparse(density: float, rows: int, block: int) -> None:
    made = op_of(layered(density, rows).apply("sparsify"))
    assert (made.block if isinstance(made, SparseLinear) else 0) == block


@settings(max_examples=60)
@given(graph=nets())
def test_random_networks_keep_every_bit(graph: Graph) -> None:
    for block in (1, 3):
        made = graph.apply(f"sparsify{{block={block},density=1}}")
        assert not any(isinstance(node.op, Linear) for node in made.nodes.values())
        x = {n: spikes((7, 2, *s.shape), seed=3) for n, s in made.inputs.items()}
        one, two = (snnir.compile(g, level=0).run(x).outputs for g in (graph, made))
        for name, y in one.items():
            np.testing.assert_array_equal(two[name], y)
        dense = {n.name: n.op for n in graph.nodes.values() if isinstance(n.op, Linear)}
        back = made.apply("densify")
        for name, op in dense.items():
            assert back[name].op == op


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_gives_the_same_bits(target: str, tmp_path: Path) -> None:
    plain = {"real": readout(), "whole": readout().apply("quantize")}
    blocks = {
        f"{kind} {block}": (each, each.apply(f"sparsify{{block={block},density=1}}"))
        for kind, each in plain.items()
        for block in (1, 4)
    }
    built, made = (side_by_side({k: both[at] for k, both in blocks.items()}) for at in (0, 1))
    assert sum(isinstance(node.op, SparseLinear) for node in made.nodes.values()) == 8
    x = dict.fromkeys(built.inputs, spikes((20, 3, 2, 6, 6), 0.4))
    wanted = recorded(built, "numpy", x)
    for name, y in recorded(made, "numpy", x).items():
        np.testing.assert_array_equal(y, wanted[name])
    for name, y in recorded(made, target, x, precision="reproducible").items():
        np.testing.assert_array_equal(y, wanted[name])
    snnir.compile(made, target, level=0).save(tmp_path / "out")
    result = snnir.run(tmp_path / "out", x, list(snnir.populations(made)))
    assert all((result.recorded[n] == wanted[n]).mean() > 0.99 for n in result.recorded)


def test_they_survive_files(tmp_path: Path) -> None:
    made = layered(0.02).apply("sparsify")
    write_snnir(made, tmp_path / "m.snnir")
    assert read_snnir(tmp_path / "m.snnir") == made
    snnir.save(made, tmp_path / "m.nir")  # NIR has no sparse weights
    x = spikes((9, 2, 100))
    one = snnir.compile(made, level=0).run(x).output
    np.testing.assert_array_equal(
        one, snnir.compile(snnir.load(tmp_path / "m.nir"), level=0).run(x).output
    )


def test_large_matrices_are_never_laid_out(tmp_path: Path) -> None:
    """A matrix of 10^10 elements, of which 10^5 are there."""
    rng = np.random.default_rng(0)
    size = 100_000
    columns = rng.integers(0, size, size).astype(np.int32)
    one, starts = np.ones((size, 1), np.float32), np.arange(size + 1)
    layout = snnir.Tensor(one), snnir.Tensor(columns), snnir.Tensor(starts)
    built = spiking((size,), SparseLinear(*layout, size, size))
    x = spikes((3, 1, size), 0.01)
    wanted = snnir.compile(built).run(x).output
    np.testing.assert_array_equal(wanted.sum(), x[..., columns].sum())
    for target in TARGETS:
        np.testing.assert_array_equal(snnir.compile(built, target).run(x).output, wanted)


@pytest.mark.parametrize("backend", ["eager", "c"])
@pytest.mark.parametrize("block", [1, 4])
def test_training_keeps_the_pattern(backend: str, block: int) -> None:
    torch = pytest.importorskip("torch", reason="the torch target needs torch")
    built = layered(0.1, 4)
    made = built.apply(f"sparsify{{block={block},density=1}}")
    x = torch.from_numpy(spikes((9, 3, 100), 0.1) * 2 + spikes((9, 3, 100), 0.05, 7))
    plain = (x > 0).float()
    found = []
    for graph in (built, made):
        net, given_x = snnir.to_torch(graph, backend=backend), x.clone().requires_grad_()
        net(given_x).pow(2).sum().backward()
        (weight,) = (p for p in net.parameters() if p.requires_grad)
        found.append((given_x.grad.numpy(), weight.grad.numpy()))
        with torch.no_grad():
            net(plain)
            weight += 0.5
        if graph is made:
            after = snnir.update(made, net)
            with torch.no_grad():
                changed = net(plain).numpy()
            wanted = snnir.compile(after, level=0).run(plain.numpy()).output
            np.testing.assert_array_equal(changed, wanted)
    np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-6)
    op = op_of(made)
    there = SparseLinear(snnir.Tensor(found[1][1]), op.columns, op.starts, 100, 64).dense()
    held = op.dense() != 0 if block == 1 else there != 0
    np.testing.assert_allclose(there[held], found[0][1][held], atol=1e-5)
    assert op_of(after).values.numpy() == pytest.approx(op.values.numpy() + 0.5)
    assert op_of(after).columns == op.columns


def test_synaptic_operations_are_those_that_are_there() -> None:
    made = layered(0.1).apply("sparsify{density=1,block=4}")  # with zeros in blocks
    x = spikes((9, 2, 100), 0.2)
    held = op_of(made).dense() != 0
    (counted,) = snnir.activity(made, x).synapses
    assert counted.connections == held.sum()
    assert counted.operations == pytest.approx((x.sum((0, 1)) / 2 * held.sum(0)).sum())


def test_bounds_hold() -> None:
    from snnir.bounds import value_bounds
    from snnir.ir import Value

    made = layered(0.1).apply("sparsify{density=1}")
    weight = op_of(made).dense()
    bound = value_bounds(made)[Value("linear")]
    np.testing.assert_allclose(bound.high, np.maximum(weight, 0).sum(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bound.low, np.minimum(weight, 0).sum(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("sparsify{block=65}", "use 1 to 64 rows"),
        ("sparsify{block=-1}", "use 1 to 64 rows"),
        ("sparsify{density=2}", "a share from 0 to 1"),
        ("sparsify{density=half}", "must be a float"),
    ],
)
def test_wrong_options_are_named(pipeline: str, words: str) -> None:
    with pytest.raises(snnir.SnnirError, match=words):
        recurrent().apply(pipeline)


def test_pruned_from_the_command_line(tmp_path: Path) -> None:
    snnir.save(layered(0.9), tmp_path / "m.snnir")
    passes = "prune{amount=0.97},sparsify"
    done = cli("opt", tmp_path / "m.snnir", "--passes", passes, "-o", tmp_path / "s.snnir")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert isinstance(op_of(snnir.load(tmp_path / "s.snnir")), SparseLinear)
