"""The dialect in MLIR's Python bindings: modules, verifiers, passes, bytecode."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Add, Delay, Input, Linear, Signal
from snnir.mlir import bindings, bytecode, dialect, to_mlir
from tests import helpers
from tests.helpers import ROOT, feed_forward, lif_step, recurrent
from tests.mlir.models import (
    NAMED,
    of_corpus,
    of_matrix,
    own_op,
    programs,
    random_graphs,
    same,
    several_ports,
)

ir: Any = pytest.importorskip("torch_mlir.ir")
rewrite: Any = pytest.importorskip("torch_mlir.rewrite")


def resolved(graph: snnir.Graph) -> bool:
    return all(value.is_resolved for value in graph.tensors().values())


def test_graphs_become_modules_and_come_back() -> None:
    context = dialect.new_context(several_ports())
    named = [make() for make in NAMED.values()]
    with own_op() as graph:
        assert same(dialect.to_graph(dialect.from_graph(graph)), graph)
    for graph in [*named, *of_matrix(), *random_graphs()[:60]]:
        module = dialect.from_graph(graph, context)
        assert module.operation.verify()
        found = dialect.to_graph(module)
        assert same(found, graph)
        assert resolved(found)
        assert found.provenance == graph.provenance


def test_published_models_as_bytecode() -> None:
    for graph in of_corpus():
        found = bytecode.from_bytecode(bytecode.to_bytecode(graph))
        assert same(found, graph)
        assert resolved(found)


@pytest.mark.parametrize("name", NAMED)
def test_bytecode(name: str, tmp_path: Path) -> None:
    graph = NAMED[name]()
    path = tmp_path / "net.mlirbc"
    snnir.save(graph, path)
    found = snnir.load(path)
    assert same(found, graph)
    assert resolved(found)
    assert bytecode.to_bytecode(found) == path.read_bytes()
    for key, value in graph.tensors().items():
        assert found.tensors()[key].numpy().tobytes() == value.numpy().tobytes()


def test_tensors_of_every_type_and_size() -> None:
    rng = np.random.default_rng(0)
    context = dialect.new_context()
    context.allow_unregistered_dialects = True
    for dtype in (
        "f64",
        "f32",
        "f16",
        "i64",
        "i32",
        "i16",
        "i8",
        "u64",
        "u32",
        "u16",
        "u8",
        "bool",
    ):
        name = snnir.streams.DTYPES[dtype]
        for shape in ((), (1,), (3, 2), (9, 9), (40, 30), (0, 3)):
            data = (rng.random(shape) * 100).astype(name)
            for values in (data, np.zeros(shape, name)):
                with context, ir.Location.unknown():
                    found = bindings.operations_of(_holder(snnir.Tensor(values)))[0]
                tensor = found.attributes["t"]
                assert (tensor.dtype, tensor.shape) == (dtype, shape)
                assert tensor.numpy().tobytes() == values.tobytes()


def _holder(tensor: snnir.Tensor) -> Any:
    given = {"t": bindings.attribute(ir, tensor)}
    return ir.Operation.create("test.holder", attributes=given)


def test_weights_of_a_module_outlive_it() -> None:
    graph = snnir.load(_saved(recurrent()))
    copied = {name: value.numpy().copy() for name, value in graph.tensors().items()}
    module = dialect.from_graph(graph)
    found = dialect.to_graph(module)
    del module
    for _ in range(3):
        dialect.from_graph(recurrent())
    for name, value in found.tensors().items():
        assert (value.numpy() == copied[name]).all()
        with pytest.raises(ValueError, match="read-only"):
            value.numpy()[...] = 0


def _saved(graph: snnir.Graph) -> Path:
    import tempfile

    path = Path(tempfile.mkdtemp(), "net.mlirbc")
    snnir.save(graph, path)
    return path


def test_resources_in_a_module_are_read() -> None:
    graph = recurrent()
    found = dialect.to_graph(dialect.load(to_mlir(graph, "resource")))
    assert same(found, graph)
    assert resolved(found)
    named = dialect.to_graph(dialect.load(to_mlir(graph, "key")))
    assert same(named, graph)
    assert not resolved(named)
    known = {value.digest: value for value in graph.tensors().values()}
    assert resolved(dialect.to_graph(dialect.load(to_mlir(graph, "key")), known))


#: Broken texts: what, by what, and what MLIR says. IRDL sees the kinds of things; that they fit
#: each other is seen by the verifiers in Python.
BROKEN = {
    "unknown op": ('"snn.delay"', '"snn.dleay"', "snn.dleay"),
    "missing attribute": ("steps = 1 : i64, ", "", "steps"),
    "kind of attribute": ("steps = 1 : i64", 'steps = "x"', "'steps' cannot be 'x'"),
    "unknown attribute": ("dynamics = {}", "dynamics = {resett = 1}", "has no 'resett'"),
    "value of attribute": ("dynamics = {}", 'dynamics = {reset = "up"}', "reset is 'up'"),
    "metadata": ("metadata = []", "metadata = [1]", "'metadata' must be pairs"),
    "name": ('node = "late"', "node = 1", "needs attribute 'node', a text"),
    "shape of weight": ("tensor<4x3xf32>", "tensor<3x4xf32>", "weight expects 4 inputs"),
    "parameter": ('["beta", ', '["betas", ', "misses parameter beta"),
    "version": ("version = 1", "version = 2", "has version 2"),
    "type of use": (
        "(!snn.spikes<tensor<4xf32>>) -> !snn.spikes", "(!snn.analog<tensor<4xf32>>) -> !snn.spikes",
        "type '!snn.",
    ),
    "undefined value": ("(%late)", "(%nobody)", "undeclared"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken_text_is_refused_with_its_place(what: str) -> None:
    old, new, message = BROKEN[what]
    text = to_mlir(recurrent())
    assert old in text
    with pytest.raises(snnir.SnnirError, match=r"SNN102.*line \d+, column \d+") as caught:
        dialect.load(text.replace(old, new, 1))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_results_have_the_types_that_ops_give() -> None:
    text = to_mlir(feed_forward())
    changed = text.replace("!snn.spikes<tensor<4xf32>>", "!snn.counts<tensor<4xf32>>")
    with pytest.raises(snnir.SnnirError, match="line 5, column .*gives !snn.spikes<tensor<4xf32>>"):
        dialect.load(changed)


def test_broken_programs_are_refused() -> None:
    text = to_mlir(programs())
    for old, new, message in (
        ("= @whole", "= @nothing", "no program @nothing"),
        ("  module @m_1 {", "  module @whole {\n  }\n  module @m_1 {", "redefinition of symbol"),
        ('"snn.scalar_shr"(%whole.x,', '"snn.scalar_shr"(%whole.t,', "not defined before it"),
        ('name = "k", unit', 'name = "x", unit', "'x' is defined twice"),
    ):
        assert old in text
        with pytest.raises(snnir.SnnirError, match="SNN102.*line ") as caught:
            dialect.load(text.replace(old, new, 1))
        assert message in str(caught.value)


def test_broken_bytecode_is_refused(tmp_path: Path) -> None:
    whole = bytecode.to_bytecode(feed_forward())
    path = tmp_path / "net.mlirbc"
    for data in (whole[:100], whole[:4], whole[:-20], b"ML\xefR" + b"\xff" * 50):
        path.write_bytes(data)
        with pytest.raises(snnir.SnnirError, match=r"SNN102.*net\.mlirbc"):
            snnir.load(path)


def test_a_pass_of_rewrite_patterns() -> None:
    graph = recurrent()
    scaled: list[str] = []

    def halve(op: Any, rewriter: Any) -> bool | None:
        linear = dialect.read_op(op)
        name = ir.StringAttr(op.attributes["node"]).value
        if name in scaled:
            return True
        scaled.append(name)
        assert isinstance(linear, Linear)
        half = Linear(snnir.tensor(linear.weight.numpy() / 2))
        with rewriter.ip:
            new = dialect.make_op(half, op.operands, name)
        rewriter.replace_op(op, new)
        return None

    module = dialect.from_graph(graph)
    with module.context, ir.Location.unknown():
        patterns = rewrite.RewritePatternSet()
        patterns.add("snn.linear", halve)
        rewrite.apply_patterns_and_fold_greedily(module, patterns.freeze())
    assert module.operation.verify()
    found = dialect.to_graph(module)
    assert sorted(scaled) == ["fc", "rec"]
    for name in scaled:
        weight = found[name].op.tensors()["weight"].numpy()
        assert (weight == graph[name].op.tensors()["weight"].numpy() / 2).all()
    assert set(found.nodes) == set(graph.nodes)
    assert found["lif"] == graph["lif"]


def test_a_pass_manager_runs_passes_of_mlir() -> None:
    from torch_mlir.passmanager import PassManager

    module = dialect.from_graph(programs())
    with module.context, ir.Location.unknown():
        PassManager.parse("builtin.module(canonicalize,cse,symbol-dce)").run(module.operation)
    assert same(dialect.to_graph(module), programs())


def test_ops_are_made_only_where_they_fit() -> None:
    module = dialect.from_graph(feed_forward())
    with module.context, ir.Location.unknown():
        body = module.body
        fc = next(op for op in body.operations if op.operation.name == "snn.linear")
        with ir.InsertionPoint(fc):
            made = dialect.make_op(Delay(2), [fc.operands[0]], "later")
            assert str(made.results[0].type) == "!snn.spikes<tensor<3xf32>>"
            assert dialect.read_op(made) == Delay(2)
            with pytest.raises(snnir.SnnirError, match="SNN202"):
                dialect.make_op(Linear(snnir.tensor(np.ones((2, 9)))), [fc.operands[0]], "b")
            with pytest.raises(snnir.SnnirError, match="SNN203"):
                dialect.make_op(lif_step(), [fc.operands[0]], "b")
            whole = programs()["whole"].op
            with pytest.raises(snnir.SnnirError, match="SNN503.*module of its own"):
                dialect.make_op(whole, [fc.results[0]], "b")
        with pytest.raises(snnir.SnnirError, match="SNN201.*is not a node"):
            dialect.read_op(body.operations[0])
    found = dialect.to_graph(module)
    assert found["later"].op == Delay(2)


def test_bytecode_goes_to_any_stream() -> None:
    file = io.BytesIO()
    bytecode.write_bytecode(feed_forward(), file)
    assert file.getvalue().startswith(b"ML\xefR")
    with pytest.raises(snnir.SnnirError, match="SNN205"):
        bytecode.to_bytecode(snnir.from_mlir(to_mlir(feed_forward(), "key")))


def test_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "mlir.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 2
    scope: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "mlir.md", "exec"), scope)
    assert_patterns_of_the_page_work(scope)


def assert_patterns_of_the_page_work(scope: dict[str, Any]) -> None:
    """The page's graph has no long delay and no sum; here they do what they say."""
    nodes: dict[str, Any] = {
        "x": (Input(Signal(snnir.Kind.ANALOG, (2,))), []),
        "one": (Add(), ["x"]),
        "long": (Delay(130), ["one"]),
        "each": (Delay(snnir.tensor(np.array([100, 0], np.int64))), ["long"]),
    }
    net = helpers.graph(nodes, "each", dt=1e-3)
    module = dialect.from_graph(net)
    with module.context, ir.Location.unknown():
        rewrite.apply_patterns_and_fold_greedily(module, scope["short_delays"]().freeze())
    found = dialect.to_graph(module)
    split = {name: node.op for name, node in found.nodes.items() if name.startswith("long")}
    assert split == {"long.130": Delay(63), "long.67": Delay(63), "long": Delay(4)}
    assert list(found.nodes)[-1] == "each"
    assert "one" not in found.nodes
    data = np.random.default_rng(0).random((300, 1, 2), np.float32)
    before, after = (snnir.run(each, data).outputs["output"] for each in (net, found))
    assert (before == after).all()
