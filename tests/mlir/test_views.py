"""The Python classes of the dialect's operations, in walks, patterns and passes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import snnir
from snnir.ir import Add, Concat, Delay, Input, Op, Plastic, Signal, Step
from snnir.ir.op import OPS, Operands, Results, register_op
from snnir.matrix import EXAMPLES
from snnir.mlir import dialect
from snnir.mlir.dialect import ops
from tests.helpers import ROOT, feed_forward, graph, params, recurrent
from tests.mlir.models import NAMED, of_matrix, own_op, programs, same, several_ports

ir: Any = pytest.importorskip("torch_mlir.ir")
rewrite: Any = pytest.importorskip("torch_mlir.rewrite")

LEARNS, _ = EXAMPLES["plastic"]
ANALOG = Signal(snnir.Kind.ANALOG, (2,))


def nodes_of(module: Any) -> dict[str, Any]:
    """Return the operations of a module's nodes by the nodes' names.

    They are valid as long as the module is there: the bindings do not keep it for them.
    """
    return {op.node: op for op in module.body.operations if isinstance(op, ops.Node)}


def rewritten(net: snnir.Graph, *patterns: tuple[Any, Callable[..., bool | None]]) -> Any:
    """Return the module of a graph to which patterns were applied; it is valid."""
    module = dialect.from_graph(net)
    with module.context, ir.Location.unknown():
        found = dialect.new_patterns()
        for root, function in patterns:
            found.add(root, function)
        rewrite.apply_patterns_and_fold_greedily(module, found.freeze())
    assert module.operation.verify()
    return module


def matched(net: snnir.Graph, root: Any) -> set[str]:
    """Return the names of the nodes that a pattern for this root is tried on."""
    found: set[str] = set()

    def note(op: Any, rewriter: Any) -> bool:
        found.add(op.node)
        return True

    rewritten(net, (root, note))
    return found


def sums() -> snnir.Graph:
    """Sums of one to three and nine streams, and one that is no sum."""
    nodes: dict[str, Any] = {"x": (Input(ANALOG), [])}
    nodes |= {f"sum{count}": (Add(), ["x"] * count) for count in (1, 2, 3, 9)}
    nodes["cat"] = (Concat(0), [f"sum{count}" for count in (1, 2, 3, 9)])
    return graph(nodes, "cat", dt=1e-3)


def test_operations_are_of_the_class_of_their_op_and_have_its_attributes() -> None:
    seen = set()
    for net in [*of_matrix(), *(make() for make in NAMED.values())]:
        module = dialect.from_graph(net)
        found = nodes_of(module)
        assert list(found) == list(net.nodes)
        for name, view in found.items():
            node = net[name]
            seen.add(type(node.op))
            assert isinstance(view, getattr(ops, type(node.op).__name__))
            assert view.op == node.op
            assert view.metadata == node.metadata
            for item in fields(node.op):
                assert getattr(view, item.name) == getattr(node.op, item.name)
    assert seen == set(OPS.values())


def test_a_step_of_the_lif_family_is_a_step() -> None:
    module = dialect.from_graph(recurrent())
    assert isinstance(nodes_of(module)["lif"], ops.Lif)
    assert isinstance(nodes_of(module)["lif"], ops.Step)
    module = dialect.from_graph(programs())
    other = nodes_of(module)["whole"]
    assert isinstance(other, ops.Step)
    assert not isinstance(other, ops.Lif)


def test_ways_through_a_module() -> None:
    module = dialect.from_graph(sums())
    names: list[str] = []

    def note(operation: Any) -> Any:
        names.append(operation.opview.node)
        return ir.WalkResult.ADVANCE

    module.operation.walk(note, op_class=ops.Add)
    assert names == ["sum1", "sum2", "sum3", "sum9"]
    assert [op.node for op in ir.get_ops_of_type(module.operation, ops.Concat)] == ["cat"]
    cat = nodes_of(module)["cat"]
    assert [value.owner.node for value in cat.operands] == names


@pytest.mark.parametrize(
    ("root", "nodes"),
    [
        ("Add", {"sum1", "sum2", "sum3", "sum9"}),
        ("Concat", {"cat"}),
        ("Input", {"x"}),
        ("Delay", set[str]()),
        ("Node", {"x", "sum1", "sum2", "sum3", "sum9", "cat"}),
    ],
)
def test_a_pattern_matches_all_operations_of_a_class(root: str, nodes: set[str]) -> None:
    assert matched(sums(), getattr(ops, root)) == nodes


def test_a_pattern_matches_steps_with_any_number_of_results() -> None:
    assert matched(several_ports(), ops.Step) == {"seen", "own"}
    assert matched(several_ports(), ops.Lif) == {"seen"}
    assert matched(sums(), "snn.add_3") == {"sum3"}


def test_sets_of_mlir_refuse_classes_of_several_names() -> None:
    module = dialect.from_graph(sums())
    with module.context, ir.Location.unknown():
        patterns = rewrite.RewritePatternSet()
        patterns.add(ops.Delay, lambda op, rewriter: True)
        with pytest.raises(AttributeError, match=r"several names, which ops\.Add\.names\(\) lists"):
            patterns.add(ops.Add, lambda op, rewriter: True)
    assert {"snn.add", "snn.add_1", "snn.add_8", "snn.add_9"} <= set(ops.Add.names())
    assert ops.Delay.names() == ["snn.delay"]


def test_operations_made_in_a_pattern() -> None:
    def join(op: Any, rewriter: Any) -> bool | None:
        """A sum of more than two streams becomes sums of two."""
        if len(op.operands) < 3:
            return True
        first, *rest = op.operands
        with rewriter.ip:
            inner = ops.Add.create(*rest, node=f"{op.node}.{len(rest)}")
            outer = ops.Add.create(first, inner.result, node=op.node, metadata={"from": "join"})
        assert type(outer) is type(op) or op.name != outer.name
        rewriter.replace_op(op, outer)
        return None

    found = dialect.to_graph(rewritten(sums(), (ops.Add, join)))
    added = [node for node in found.nodes.values() if isinstance(node.op, Add)]
    assert max(len(node.operands) for node in added) == 2
    assert len(added) == 1 + 1 + 2 + 8
    assert found["sum9"].metadata == {"from": "join"}
    assert list(map(str, found["cat"].operands)) == list(map(str, sums()["cat"].operands))
    data = {"x": np.arange(8, dtype=np.float32).reshape(4, 1, 2)}
    ran = [snnir.run(net, data).outputs["output"] for net in (found, sums())]
    assert (ran[0] == ran[1]).all()


def test_every_class_makes_the_operation_it_reads() -> None:
    made = set()
    for net in [*of_matrix(), recurrent(), several_ports(), sums()]:
        module = dialect.from_graph(net)
        for view in nodes_of(module).values():
            if isinstance(view, ops.Plastic) or type(view).__name__.startswith("Step"):
                continue  # they have programs
            given = {item.name: getattr(view, item.name) for item in fields(view.op)}
            with module.context, ir.Location.unknown(), ir.InsertionPoint(view):
                new = getattr(ops, type(view.op).__name__).create(
                    *view.operands, node="new", **given
                )
                assert type(new) is type(view)
                assert new.op == view.op
                assert [value.type for value in new.results] == [v.type for v in view.results]
                new.operation.erase()
                made.add(type(view.op))
        assert same(dialect.to_graph(module), net)
    assert made == set(OPS.values()) - {Plastic}


def test_what_cannot_be_made() -> None:
    module = dialect.from_graph(feed_forward())
    fc = nodes_of(module)["fc"]
    wide = snnir.tensor(np.ones((2, 9)))
    with module.context, ir.Location.unknown(), ir.InsertionPoint(fc):
        with pytest.raises(snnir.SnnirError, match="SNN202"):
            ops.Linear.create(fc.operands[0], node="b", weight=wide)
        with pytest.raises(TypeError, match="stepps"):
            ops.Delay.create(fc.operands[0], node="b", stepps=1)
        whole = programs()["whole"].op
        assert isinstance(whole, Step)
        with pytest.raises(snnir.SnnirError, match="SNN503"):
            ops.Step.create(fc.result, node="b", dynamics=whole.dynamics, params=params(k=1.0))
        own = {item.name: getattr(LEARNS, item.name) for item in fields(LEARNS)}
        with pytest.raises(snnir.SnnirError, match="SNN503"):
            ops.Plastic.create(*[fc.operands[0]] * 3, node="b", **own)


def test_what_does_not_fit_is_told() -> None:
    module = dialect.from_graph(recurrent())
    late = nodes_of(module)["late"]
    with module.context:
        late.attributes["steps"] = ir.StringAttr.get("x")
    with pytest.raises(snnir.SnnirError, match="SNN201.*snn.delay: .*'steps' cannot be 'x'"):
        late.steps  # noqa: B018
    with pytest.raises(AttributeError, match="no op has the class 'Linaer'; did you mean Linear"):
        ops.Linaer  # noqa: B018
    assert {"Node", "Lif", "Step", "Linear", "Add", "SumPool2d"} <= set(dir(ops))
    assert all(issubclass(getattr(ops, name), ops.Node) for name in dir(ops))


def test_properties_follow_the_operation() -> None:
    module = dialect.from_graph(recurrent())
    late = nodes_of(module)["late"]
    assert late.steps == 1
    with module.context:
        late.attributes["steps"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), 5)
    assert late.steps == 5
    assert late.op == Delay(5)


def test_ops_of_plug_ins_have_classes() -> None:
    with own_op() as net:
        module = dialect.from_graph(net)
        view = nodes_of(module)["own"]
        assert type(view) is ops.Own3
        assert view.op == net["own"].op
        assert view.pair == ((1, 0.1), (2, -0.0))
        assert matched(net, ops.Own3) == {"own"}
    with pytest.raises(AttributeError, match="Own3"):
        ops.Own3  # noqa: B018
    with own_op() as net:  # the same name, another op
        module = dialect.from_graph(net)
        assert type(nodes_of(module)["own"]) is ops.Own3
        assert matched(net, ops.Own3) == {"own"}


def test_attributes_named_like_members_of_mlir_are_in_the_op() -> None:
    @register_op
    @dataclass(frozen=True)
    class Odd(Op):
        """y = x."""

        name: ClassVar[str] = "odd"
        location: int = 1
        results: int = 2
        free: int = 3

        def infer(self, operands: Operands) -> Results:
            return tuple(operands)

    try:
        net = graph({"x": (Input(ANALOG), []), "odd": (Odd(4, 5, 6), ["x"])}, "odd")
        module = dialect.from_graph(net)
        view = nodes_of(module)["odd"]
        assert (view.op.location, view.op.results, view.free) == (4, 5, 6)
        assert len(view.results) == 1
    finally:
        del OPS["odd"]


def test_a_pass_in_python() -> None:
    from torch_mlir.passmanager import PassManager

    def halve(module: Any, this: Any) -> None:
        for view in ir.get_ops_of_type(module, ops.Linear):
            with ir.Location.unknown(), ir.InsertionPoint(view):
                half = snnir.tensor(view.weight.numpy() / 2)
                new = ops.Linear.create(*view.operands, node=view.node, weight=half)
            view.result.replace_all_uses_with(new.result)
            view.operation.erase()

    module = dialect.from_graph(recurrent())
    with module.context, ir.Location.unknown():
        passes = PassManager("builtin.module")
        passes.add(halve)
        passes.run(module.operation)
    found = dialect.to_graph(module)
    for name in ("fc", "rec"):
        new, old = (net[name].op.tensors()["weight"].numpy() for net in (found, recurrent()))
        assert (new == old / 2).all()
    assert set(found.nodes) == set(recurrent().nodes)


@pytest.mark.parametrize("use", ["dialect.ops.Add", "dialect.new_patterns()"])
def test_without_mlir_use_is_refused(use: str, tmp_path: Path) -> None:
    hidden = tmp_path / "torch_mlir"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('not here')\n")
    program = f"from snnir.mlir import dialect\nprint('imported', flush=True)\n{use}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert done.stdout == "imported\n"
    assert "SNN503" in done.stderr
