"""Passes, pipelines, the manager, plug-ins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import snnir
from snnir.ir import Add, Current, Delay, Flatten, FrozenDict, Graph, Neuron, Reshape, Scale, Step
from snnir.pipeline import LEVELS, Manager, Pass
from snnir.pipeline_text import parse_pipeline
from snnir.registry import load_plugin, lookup, names
from tests.helpers import cli, continuous, feed_forward, nir_file, recurrent, spikes


def test_pipelines_print_as_they_parse() -> None:
    text = "discretize{dt=0.001,semantics=norse},dead-code,verify"
    assert ",".join(map(str, parse_pipeline(text))) == text
    assert parse_pipeline("") == []
    for level in LEVELS.values():
        assert ",".join(map(str, parse_pipeline(level))) == level


WRONG = {
    "unknown": ("discretise", "did you mean discretize"),
    "option": ("discretize{dtt=1}", "no option 'dtt'"),
    "value": ("discretize{dt=fast}", "must be a float"),
    "brace": ("discretize{dt=1", "expected ','"),
    "comma": ("verify,", "after ','"),
    "character": ("verify;infer", "unexpected ';'"),
    "no value": ("discretize{dt}", "'='"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_pipelines_are_named(kind: str) -> None:
    text, part = WRONG[kind]
    with pytest.raises(snnir.SnnirError) as caught:
        parse_pipeline(text)
    assert part in str(caught.value)
    assert "SNN401" in str(caught.value)


def idle() -> Graph:
    """feed_forward with every kind of identity, and a dead branch."""
    editor = feed_forward().edit()
    ops = {"i1": Scale(snnir.tensor(1.0)), "i2": Delay(0), "i3": Reshape((4,)), "i4": Current(),
           "i5": Flatten(), "i6": Add()}  # fmt: skip
    last = "fc"
    for name, op in ops.items():
        editor.add(name, op, [last])
        last = name
    editor.add("dead", Current(), ["lif"])
    lif = editor.nodes["lif"]
    editor.put(snnir.Node("lif", lif.op, (snnir.Value(last),)))
    return editor.graph().verify()


def test_identities_and_dead_code_go() -> None:
    before = idle()
    after = before.apply("remove-identity,dead-code")
    assert set(after.nodes) == {"input", "fc", "lif"}
    x = spikes((20, 2, 3))
    one, two = (snnir.compile(g, level=0).run(x).output for g in (before, after))
    np.testing.assert_array_equal(one, two)
    assert before == idle()  # passes are pure


def test_canonical_sums_keep_their_order() -> None:
    editor = recurrent().edit()
    editor.add("more", Add(), ["sum", "fc"])
    editor.put(snnir.Node("lif", editor.nodes["lif"].op, (snnir.Value("more"),)))
    after = editor.graph().verify().apply("canonicalize")
    assert [v.node for v in after["more"].operands] == ["fc", "rec", "fc"]
    assert "sum" not in after.nodes


def test_records_tell_what_changed() -> None:
    result = snnir.run_pipeline(idle(), "remove-identity,dead-code,verify")
    assert [(r.before, r.after) for r in result.records] == [(10, 4), (4, 3), (3, 3)]
    assert [r.changed > 0 for r in result.records] == [True, True, False]
    assert result.losses == []


@dataclass(frozen=True)
class Break(Pass):
    """Removes a node that is used."""

    name: ClassVar[str] = "break"

    def run(self, graph: Graph) -> Graph:
        editor = graph.edit()
        editor.remove("fc")
        return editor.graph()


@dataclass(frozen=True)
class Bend(Pass):
    """Doubles a threshold and says so."""

    name: ClassVar[str] = "bend"
    fidelity: ClassVar[str] = "approximate"

    def run(self, graph: Graph) -> Graph:
        editor = graph.edit()
        editor.add("tail", Current(), ["lif"])
        return editor.graph()


def test_the_manager_names_the_pass_that_broke_the_graph() -> None:
    with pytest.raises(snnir.SnnirError, match=r"pass 'break' \(1 of 1\) left a graph"):
        Manager().run(feed_forward(), [Break()])


def test_losses_are_collected() -> None:
    assert Manager().run(feed_forward(), [Bend()]).losses == ["bend: approximate"]


@dataclass(frozen=True)
class Spoil(Pass):
    """Doubles a threshold and keeps quiet about it."""

    name: ClassVar[str] = "spoil"

    def run(self, graph: Graph) -> Graph:
        editor = graph.edit()
        op = editor.nodes["lif"].op
        assert isinstance(op, Step)
        params = {**op.params, "threshold": snnir.tensor(2.0)}
        editor.set_op("lif", replace(op, params=FrozenDict(params)))
        return editor.graph()


@dataclass(frozen=True)
class Fail(Pass):
    """Raises, or returns no graph."""

    name: ClassVar[str] = "fail"
    quietly: bool = False

    def run(self, graph: Graph) -> Graph:
        if self.quietly:
            return None  # type: ignore[return-value]
        raise KeyError("oh\nno")


@pytest.fixture
def rogues() -> None:
    for rogue in (Spoil, Break, Fail):
        snnir.register_pass(rogue)


@pytest.mark.usefixtures("rogues")
@pytest.mark.parametrize(
    ("pipeline", "number", "words"),
    [
        ("verify,infer,dead-code,spoil,infer,verify", 4, "spikes of 'lif' differ"),
        ("spoil,verify,infer,dead-code,infer,verify", 1, "spikes of 'lif' differ"),
        ("verify,infer,dead-code,spoil", 4, "spikes of 'lif' differ"),
        ("verify,infer,break,infer", 3, "pass 'break' (3 of 3) left a graph"),
        ("verify,fail,infer", 2, "pass 'fail' (2 of 2) failed: KeyError"),
    ],
)
def test_bisect_finds_the_pass(pipeline: str, number: int, words: str) -> None:
    found = snnir.bisect(feed_forward(), pipeline, {"input": spikes((20, 2, 3))})
    assert found is not None
    assert (found.number, found.spec) == (number, pipeline.split(",")[number - 1])
    assert words in found.what
    assert (found.after is None) == ("spikes" not in words)
    assert found.before == feed_forward()


def test_bisect_finds_nothing_where_nothing_is() -> None:
    x = {"input": spikes((20, 2, 3))}
    assert snnir.bisect(feed_forward(), "verify,infer,cse", x) is None


@pytest.mark.usefixtures("rogues")
def test_failing_passes_are_named_with_their_place() -> None:
    with pytest.raises(snnir.SnnirError, match=r"pass 'fail' \(2 of 3\) failed: KeyError: 'oh"):
        feed_forward().apply("verify,fail,infer")
    with pytest.raises(snnir.SnnirError, match=r"\(1 of 1\) returned a NoneType"):
        feed_forward().apply("fail{quietly}")


def test_slow_passes_are_named() -> None:
    with pytest.warns(snnir.SnnirWarning, match=r"SNN404.*pass 'verify' \(1 of 1\) took"):
        Manager(patience=-1.0).run(feed_forward(), parse_pipeline("verify"))


def test_calibration_goes_where_it_is_wanted() -> None:
    text = snnir.with_calibration('discretize,quantize,quantize{calibrate="y.npz"}', "a b.npz")
    assert text == 'discretize,quantize{calibrate="a b.npz"},quantize{calibrate=y.npz}'
    with pytest.raises(snnir.SnnirError, match="no pass of 'discretize'"):
        snnir.with_calibration("discretize", "x.npz")


def test_discretize_names_the_default_it_takes() -> None:
    graph = continuous(tau=0.01, r=1, v_leak=0, v_threshold=1)
    op = graph["n"].op
    editor = graph.edit()
    assert isinstance(op, Neuron)
    editor.set_op("n", Neuron(op.model, op.params))
    with pytest.warns(snnir.SnnirWarning, match="took 'exact'"):
        editor.graph().apply("discretize")
    assert editor.graph().apply("discretize{semantics=norse}")
    with pytest.raises(snnir.SnnirError, match="did you mean norse"):
        editor.graph().apply("discretize{semantics=nors}")


PLUGIN = '''
from dataclasses import dataclass, replace
from typing import ClassVar
import snnir

@snnir.register_pass
@dataclass(frozen=True)
class Rename(snnir.Pass):
    """Renames the graph."""
    name: ClassVar[str] = "rename-graph"
    to: str = "x"
    def run(self, graph):
        from dataclasses import replace
        return replace(graph, name=self.to)
'''


def test_plugins(tmp_path: Path) -> None:
    path = tmp_path / "my_plugin.py"
    path.write_text(PLUGIN)
    load_plugin(str(path))
    assert "rename-graph" in names("passes")
    assert feed_forward().apply("rename-graph{to=new}").name == "new"
    rival = tmp_path / "rival.py"
    rival.write_text(PLUGIN.replace("class Rename", "class Rival"))
    with pytest.raises(snnir.SnnirError, match="SNN402.*rename-graph"):
        load_plugin(str(rival))
    builtin = tmp_path / "builtin.py"
    builtin.write_text(PLUGIN.replace('"rename-graph"', '"verify"'))
    with pytest.raises(snnir.SnnirError, match="is taken by snnir.passes.verify"):
        load_plugin(str(builtin))
    with pytest.raises(snnir.SnnirError, match="cannot be loaded"):
        load_plugin(str(tmp_path / "none.py"))


def test_plugins_on_the_command_line(tmp_path: Path) -> None:
    plugin = tmp_path / "my_plugin.py"
    plugin.write_text(PLUGIN)
    model = nir_file(tmp_path / "m.nir")
    done = cli("opt", model, "--semantics", "norse", "--plugin", plugin,
               "--passes", "rename-graph{to=hello}", "-o", "-")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "graph @hello(" in done.stdout
    assert "rename-graph" in cli("list", "passes", "--plugin", plugin).stdout


#: What a built-in may be nothing without.
OPTIONAL = ("bindsnet", "jax", "jaxsnn", "torch")


@pytest.mark.parametrize(
    ("group", "name"),
    [(g, n) for g in ("passes", "targets", "frontends", "live") for n in names(g)],
)
def test_every_builtin_loads(group: str, name: str) -> None:
    try:
        assert lookup(group, name, "SNN101") is not None
    except ModuleNotFoundError as missing:
        if missing.name not in OPTIONAL:
            raise
        pytest.skip(f"needs {missing.name}")


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs torch says so; what does not works without."""
    import sys

    from snnir.cli.list_cmd import _frontends

    for name in [n for n in sys.modules if n.startswith("snnir.frontends.torch_nets")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    rows = {row["name"]: row["does"] for row in _frontends()}
    assert "not usable here" in rows["torch"]
    assert "graph" in rows["nir"]
    with pytest.raises(snnir.SnnirError, match=r"SNN801.*torch"):
        snnir.framework_neurons()
    with pytest.raises(snnir.SnnirError, match=r"SNN503.*install norse"):
        snnir.export(feed_forward(), "norse")
