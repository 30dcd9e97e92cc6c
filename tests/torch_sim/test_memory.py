"""Memory is used again, but never while anything can still read it."""

from __future__ import annotations

import gc

import pytest

torch = pytest.importorskip("torch", reason="the torch target needs torch")

from snnir.targets.torch_sim.memory import LEAST, MOST, Memory

pytestmark = pytest.mark.framework


def test_it_is_used_again_when_nothing_reads_it() -> None:
    memory = Memory()
    x = memory.empty(1024, 1024)
    assert x.shape == (1024, 1024)
    assert x.dtype is torch.float32
    place = x.data_ptr()
    del x
    gc.collect()
    assert memory.held == 4 * 1024 * 1024
    again = memory.empty(512, 2048)
    assert again.data_ptr() == place
    assert memory.held == 0
    assert not memory.zeros(1024, 1024).any()


@pytest.mark.parametrize("kind", ["view", "numpy", "graph"])
def test_it_is_not_used_again_before(kind: str) -> None:
    memory = Memory()
    x = memory.empty(1024, 512)
    x.fill_(7.0)
    place = x.data_ptr()
    weight = torch.ones((), requires_grad=True)
    held = x[3:5].t() if kind == "view" else x.numpy() if kind == "numpy" else (weight * x).sum()
    del x
    gc.collect()
    other = memory.empty(1024, 512)
    other.fill_(1.0)
    assert other.data_ptr() != place
    if kind == "graph":
        held.backward()
        assert weight.grad == 7 * 1024 * 512
    else:
        assert (held == 7).all()


def test_small_tensors_are_torchs_own() -> None:
    memory = Memory()
    del_me = memory.empty(LEAST // 4 - 1)
    del del_me
    gc.collect()
    assert memory.held == 0


def test_what_is_larger_than_all_that_may_be_kept_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from snnir.targets.torch_sim import memory as module

    monkeypatch.setattr(module, "MOST", 3 * LEAST)
    memory = Memory()
    kept, large = memory.empty(LEAST // 4), memory.empty(LEAST)
    del kept
    assert memory.held == LEAST
    del large
    gc.collect()
    assert memory.held == LEAST  # and nothing is given up for it


def test_arrays_of_one_size_are_kept_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from snnir.targets.torch_sim import memory as module

    monkeypatch.setattr(module, "MOST", 3 * LEAST)
    memory = Memory()
    many = [memory.empty(LEAST // 4) for _ in range(5)]
    while many:
        many.pop()
    gc.collect()
    assert memory.held == 3 * LEAST
    other = memory.empty(LEAST // 2)
    del other
    gc.collect()
    assert memory.held == 3 * LEAST  # two of the others made room for it


def test_no_more_is_kept_than_allowed() -> None:
    memory = Memory()
    size = MOST // 4 // 4
    for extra in range(7):
        some = memory.empty(size + extra)
        del some
        gc.collect()
        assert memory.held <= MOST
    assert memory.held > MOST // 2
