"""Pruning to an amount, or under a budget of differing spikes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, Linear
from tests.helpers import ROOT, lif_step, nir_file, recurrent, spikes
from tests.passes.test_folding import conv, linear, spiking


def sparsity(built: Graph) -> dict[str, float]:
    return {
        node.name: float((node.op.tensors()["weight"].numpy() == 0).mean())
        for node in built.nodes.values()
        if "weight" in node.op.tensors()
    }


def test_every_layer_loses_its_smallest_weights() -> None:
    built = spiking((2, 6, 6), conv(4, 2), lif_step())
    made = built.apply("prune{amount=0.25}")
    before, after = (g["conv2d"].op.tensors()["weight"].numpy() for g in (built, made))
    assert sparsity(made) == {"conv2d": 0.25}
    gone = after == 0
    assert np.abs(before[gone]).max() < np.abs(before[~gone]).min()
    np.testing.assert_array_equal(after[~gone], before[~gone])
    assert made.provenance.notes[-1] == "pruned: 18 of 72 weights are zero"


def test_layers_share_an_amount() -> None:
    built = spiking((30,), linear(40, 30), lif_step(), linear(10, 40), lif_step())
    op = built["linear"].op
    assert isinstance(op, Linear)
    editor = built.edit()
    flat = np.clip(op.weight.numpy() * 100, -1, 1)  # nearly all as large as the largest
    editor.set_op("linear", Linear(snnir.Tensor(flat), op.bias))
    made = editor.graph().apply("prune{amount=0.2,scope=graph}")
    shares = sparsity(made)
    assert shares["linear_3"] > 0.5
    assert shares["linear"] < 0.2
    assert sum(int((made[n].op.tensors()["weight"].numpy() == 0).sum()) for n in shares) == 320


def test_none_and_all() -> None:
    built = spiking((5,), linear(4, 5), lif_step())
    assert sparsity(built.apply("prune{amount=0}")) == {"linear": 0.0}
    assert sparsity(built.apply("prune{amount=1}")) == {"linear": 1.0}
    none = spiking((5,), snnir.ir.Current(), lif_step())
    assert none.apply("prune") is none


def test_a_budget_is_kept_and_used(tmp_path: Path) -> None:
    from examples.digits.demo import load_samples

    x = load_samples()[0][:, :20]
    np.savez(tmp_path / "x.npz", pixels=x)
    built = snnir.load(ROOT / "examples" / "digits" / "digits.nir").apply("discretize")
    names = list(snnir.populations(built))
    plain = snnir.compile(built, level=0).run(x, names).recorded
    found = {}
    for budget in (0.1, 0.4):
        made = built.apply(f'prune{{budget={budget},calibrate="{tmp_path / "x.npz"}"}}')
        changed = snnir.compile(made, level=0).run(x, names).recorded
        differing = sum(int((changed[n] != plain[n]).sum()) for n in names)
        assert differing <= budget * sum(plain[n].sum() for n in names)
        found[budget] = sum(sparsity(made).values())
    assert 0.05 < found[0.1] < found[0.4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("amount=1.5", "option amount is 1.5"),
        ("budget=-1", "option budget is -1"),
        ("scope=net", "use layer or graph"),
        ("budget=0.1", "a budget needs calibration inputs"),
        ('budget=0.1,calibrate="none.npz"', "cannot be read"),
    ],
)
def test_wrong_options_are_named(options: str, words: str) -> None:
    with pytest.raises(snnir.SnnirError, match=words):
        recurrent().apply(f"prune{{{options}}}")


def test_a_budget_needs_spikes_and_inputs_that_fit(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", input=spikes((5, 1, 3)))
    text = f'prune{{budget=0.1,calibrate="{tmp_path / "x.npz"}"}}'
    quiet = spiking((3,), linear(2, 3), lif_step(fire="never"))
    with pytest.raises(snnir.SnnirError, match="no neuron spikes"):
        quiet.apply(text)
    with pytest.raises(snnir.SnnirError, match=r"must be \[T, B, 4\]"):
        spiking((4,), linear(2, 4), lif_step()).apply(text)
    continuous = snnir.load(nir_file(tmp_path / "m.nir"), semantics="norse", dt=1e-3)
    with pytest.raises(snnir.SnnirError, match="run discretize before prune"):
        continuous.apply(text)
