"""Step functions in torch that are no graph, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import snnir

torch = pytest.importorskip("torch", reason="needs torch")

from torch import nn
from torch.nn import functional as F

from tests.step_functions import torch_cells as cells

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore::FutureWarning")]

BATCH = 3


def zeros(*shape: int) -> Any:
    return torch.zeros(BATCH, *shape)


def refused(step: Any, state: Any, example: Any, **options: Any) -> list[snnir.Diagnostic]:
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.from_export(step, state, example, **options)
    return list(caught.value.diagnostics)


def line_of(function: Callable[..., Any], text: str) -> int:
    """Return the number of the line of a function that has a text."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    start = function.__code__.co_firstlineno
    return next(at for at in range(start, len(lines) + 1) if text in lines[at - 1])


def branches(x: Any, v: Any) -> Any:
    v = v + x
    if v.sum() > 1:
        v = v * 0
    return v, v


def noisy(x: Any, v: Any) -> Any:
    return (torch.rand_like(x) < x).float(), v + x


def several(x: Any, v: Any) -> Any:
    order = torch.argsort(x, 1).float()
    product = v[:, :, None] @ x[:, None]
    return torch.erf(v) + order, product.cumsum(2)[:, :, 0]


def mixing(x: Any, v: Any) -> Any:
    return v - x.mean(0), v + x.flip(0)


def doubled(x: Any, v: Any) -> Any:
    v = v.double() + x
    return v.float(), v.float()


def numbers(x: Any, v: Any) -> Any:
    return x * v.max().item(), v


def test_a_course_that_depends_on_the_data() -> None:
    for step, text in ((branches, "if v.sum() > 1"), (numbers, ".item()")):
        (found,) = refused(step, zeros(6), zeros(6))
        assert found.code == "SNN804"
        assert f"test_export_refused.py:{line_of(step, text)} ({step.__name__})" in found.message
        assert "torch.where" in str(found.hint)


def test_random_numbers_and_training_mode() -> None:
    (one,) = refused(noisy, zeros(6), zeros(6))
    assert (one.code, "rand_like" in one.message) == ("SNN806", True)
    assert f":{line_of(noisy, 'rand_like')} (noisy)" in one.message
    net = cells.Stacked().train()
    found = refused(net, None, zeros(2, 8, 8))
    assert [(item.code, item.node) for item in found] == [
        ("SNN806", "block1.1"),
        ("SNN806", "block2.2"),
    ]
    assert ".eval()" in str(found[0].hint)


def test_every_unsupported_operation_is_named_with_its_line_and_shapes() -> None:
    found = refused(several, zeros(6), zeros(6))
    assert [item.code for item in found] == ["SNN803"] * 3
    text = "\n".join(item.message for item in found)
    for operation, line in (("sort", "argsort"), ("erf", "erf"), ("matmul", "@ x[:, None]")):
        assert operation in text
        assert f":{line_of(several, line)} (several)" in text
    assert "f32[3,6,1] f32[3,1,6]" in text


def test_at_most_twenty_are_listed() -> None:
    def many(x: Any, v: Any) -> Any:
        return torch.stack([torch.erf(x + n) for n in range(21)]).sum(0), v + x

    assert len(refused(many, zeros(6), zeros(6))) == 20


def test_attention_is_refused() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.inner(x, x, x)[0]

    found = refused(Attention().eval(), None, zeros(4, 8))
    assert {item.code for item in found} == {"SNN803"}
    assert {item.node for item in found} == {"inner"}


def test_operations_in_forms_without_counterpart() -> None:
    image = torch.rand(BATCH, 1, 5, 5)
    for step, said in (
        (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), "ceil_mode"),
        (lambda x: F.avg_pool2d(x, 2, padding=1, count_include_pad=False), "padding"),
        (lambda x: x.max(2)[1].float(), "a place"),
        (lambda x: x[x > 0.5], "not fixed"),
    ):
        found = refused(step, None, image)
        assert found[0].code in ("SNN803", "SNN804")
        assert said in found[0].message


def test_mixed_samples() -> None:
    found = refused(mixing, zeros(6), zeros(6))
    assert {item.code for item in found} == {"SNN803"}
    assert any(f":{line_of(mixing, 'flip')}" in item.message for item in found)


def test_types_other_than_float32() -> None:
    (found,) = refused(doubled, zeros(6), zeros(6))
    assert (found.code, "float64" in found.message) == ("SNN807", True)
    assert refused(doubled, zeros(6).double(), zeros(6))[0].code == "SNN807"
    for wrapping in (lambda x, n: (x, n + 1), lambda x, n: (x + (n.float() + x).byte(), n)):
        (found,) = refused(wrapping, zeros(6).byte(), zeros(6))
        assert (found.code, "wraps around" in found.message) == ("SNN807", True)


@pytest.mark.parametrize(
    ("state", "example", "said"),
    [
        (None, zeros(12), "required positional argument"),
        (zeros(6), zeros(11), "mat1 and mat2"),
        (zeros(6), None, "give example="),
        (zeros(1), zeros(12), "becomes [3, 6]"),
        ((zeros(6), zeros(6)), zeros(12), "the step raised TypeError"),
        (zeros(6), "text", "a str, not a tensor"),
        (zeros(6)[:0], zeros(12)[:0], "has an empty axis"),
    ],
)
def test_state_and_example_that_do_not_fit(state: Any, example: Any, said: str) -> None:
    (found,) = refused(cells.HandLif(), state, example)
    assert found.code == "SNN801"
    assert said in found.message


def test_results_that_are_no_pair() -> None:
    (found,) = refused(lambda x, v: v + x, zeros(6), zeros(6))
    assert found.code == "SNN801"
    assert "not (output, state)" in found.message
    (found,) = refused(lambda x, s: (x, {"v": s["v"]}), {"v": zeros(6), "w": zeros(6)}, zeros(6))
    assert "given a state of v, w and returns v" in found.message
    (found,) = refused(lambda x, v: (v + x, 0.0), zeros(6), zeros(6))
    assert "becomes a float" in found.message
    (found,) = refused(lambda x, v: (x * 0, v), zeros(6), zeros(6), order="either")
    assert "no order 'either'" in found.message


def test_numbers_of_python_that_count() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x * self.calls

    (found,) = refused(Counter(), None, zeros(6))
    assert (found.code, found.node) == ("SNN805", "calls")


def test_state_that_cannot_be_seen() -> None:
    memory = [zeros(6)]

    def forgetful(x: Any) -> Any:
        memory[0] = memory[0] * 0.5 + x
        return (memory[0] > 1).float()

    (found,) = refused(forgetful, None, zeros(6))
    assert found.code == "SNN808"
    assert "give it as state" in str(found.hint)


def test_files_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "step.pt2"
    path.write_bytes(b"anything")
    for given in (path, str(path)):
        (found,) = refused(given, zeros(6), zeros(12))
        assert found.code == "SNN107"
        assert "torch.export.load" in str(found.hint)


def test_exported_programs_that_do_not_fit() -> None:
    step = cells.HandLif()
    batch = torch.export.Dim("batch", min=2, max=64)
    dynamic = torch.export.export(
        step, (zeros(12), zeros(6)), dynamic_shapes=({0: batch}, {0: batch}), strict=False
    )
    (found,) = refused(dynamic, zeros(6), zeros(12))
    assert (found.code, "dynamic_shapes" in str(found.hint)) == ("SNN804", True)
    fixed = torch.export.export(step, (zeros(12), zeros(6)), strict=False)
    assert "takes 2 tensors" in refused(fixed, None, zeros(12))[0].message
    assert "given [3, 6]" in refused(fixed, zeros(6), zeros(12), order="state-x")[0].message


def test_what_is_no_step_at_all() -> None:
    (found,) = refused(3, zeros(6), zeros(6))
    assert "got int" in found.message
    (found,) = refused(lambda x, v: (torch.ones(3, 6), v + x), zeros(6), zeros(6))
    assert "no output depends" in found.message


def test_states_that_start_differently_in_each_sample() -> None:
    start = torch.arange(18.0).reshape(3, 6)
    (found,) = refused(cells.HandLif(), start, zeros(12))
    assert "another value per sample" in found.message


def test_from_torch_points_here() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.v: Any = 0.0

        def forward(self, x: Any) -> Any:
            self.v = torch.erf(self.v * 0.5 + x)
            return cells.spike(self.v)

    net = nn.Sequential(nn.Linear(4, 4), Own())
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.from_torch(net, (4,))
    assert "snnir.from_export" in str(caught.value)
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.from_torch(nn.Sequential(nn.Linear(4, 4), nn.Softmax(1)), (4,))
    assert "snnir.from_export" not in str(caught.value)
