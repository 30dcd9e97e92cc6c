"""Where each item of the semantics is from, through frontends, files and passes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnir
from snnir.ir import Graph, Neuron, Node, Provenance, Step
from snnir.ir.origins import Origin, Origins
from snnir.tensors import FrozenDict
from tests.helpers import (
    continuous,
    dyadic,
    feed_forward,
    lif_step,
    nir_chain,
    nir_file,
    nir_recurrent,
    quiet_load,
)

LIF = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
ASKED = "semantics 'snntorch', asked for"
DEFAULT = "semantics 'exact', the default"
RECORD = "the record in the file"


def whole(graph: Graph) -> Mapping[str, Any]:
    found: Mapping[str, Any] = snnir.meaning_of(graph)["graph"]
    return found


def items(graph: Graph, node: str) -> Mapping[str, Any]:
    (found,) = (g["items"] for g in snnir.meaning_of(graph)["groups"] if node in g["nodes"])
    return found  # type: ignore[no-any-return]


def states(found: Mapping[str, Any], by: str = "") -> set[str]:
    return {each["state"] for each in found.values() if not by or each["by"] == by}


def quiet(graph: Graph, pipeline: str) -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        return graph.apply(pipeline)


# --- Files of NIR ---------------------------------------------------------------------------------


def test_nothing_said_is_all_assumed(tmp_path: Path) -> None:
    graph = quiet_load(nir_recurrent(tmp_path / "m.nir"))
    found = items(graph, "lif")
    assert states(found) == {"assumed"}
    assert {each["by"] for each in found.values()} == {DEFAULT}
    assert found["integrator"]["value"] == "exact"
    assert found["fire"]["value"] == "gt"
    assert states(whole(graph)) == {"assumed"}
    assert whole(graph)["recurrent_delay"] == {"value": 1, "state": "assumed", "by": DEFAULT}
    assert whole(graph)["dt"]["by"] == "the default of 'exact'"


def test_a_preset_asked_for_gives_its_attributes_but_not_dt(tmp_path: Path) -> None:
    graph = quiet_load(nir_recurrent(tmp_path / "m.nir"), semantics="snntorch")
    found = items(graph, "lif")
    assert states(found) == {"given"}
    assert {each["by"] for each in found.values()} == {ASKED}
    stepping = graph["lif"].op.stepping  # type: ignore[attr-defined]
    assert all(each["value"] == getattr(stepping, name) for name, each in found.items())
    assert whole(graph)["dt"]["state"] == "assumed"
    assert whole(graph)["weights"] == {"value": "float", "state": "given", "by": ASKED}
    own = quiet_load(tmp_path / "m.nir", semantics=replace(snnir.preset("norse"), name="mine"))
    assert items(own, "lif")["form"]["by"] == "semantics 'mine', asked for"


def test_single_options_are_told_from_what_they_leave_open(tmp_path: Path) -> None:
    path = nir_file(tmp_path / "m.nir")
    options = {"compare": "ge", "reset-timing": "next-step", "record-offset": 2}
    graph = quiet_load(path, dt=2e-3, **options)
    found = items(graph, "n1")
    given = {name: each["by"] for name, each in found.items() if each["state"] == "given"}
    assert given == {"fire": "option 'compare'", "reset_timing": "option 'reset-timing'"}
    assert found["integrator"]["by"] == DEFAULT
    assert whole(graph)["dt"] == {"value": 2e-3, "state": "given", "by": "option 'dt'"}
    assert whole(graph)["record_offset"]["by"] == "option 'record-offset'"
    assert "recurrent_delay" not in whole(graph)
    both = items(quiet_load(path, semantics="norse", integrator="exact"), "n1")
    assert both["form"] == {"value": "factor", "state": "given", "by": "option 'integrator'"}
    assert both["constants"]["by"] == "semantics 'norse', asked for"


def test_a_record_in_the_file_gives_all(tmp_path: Path) -> None:
    first = quiet_load(nir_recurrent(tmp_path / "m.nir"), semantics="norse")
    for name, graph in (("stepping", first), ("step", first.apply("discretize"))):
        snnir.save(graph, tmp_path / f"{name}.nir")
        back = snnir.load(tmp_path / f"{name}.nir")
        found = items(back, "lif")
        assert states(found) == {"given"}
        assert {each["by"] for each in found.values()} == {RECORD}
        assert whole(back)["dt"] == {"value": first.dt, "state": "given", "by": RECORD}
        assert whole(back)["record_offset"]["by"] == RECORD


def test_a_choice_over_the_record_changes_what_differs(tmp_path: Path) -> None:
    path = nir_recurrent(tmp_path / "m.nir")
    snnir.save(quiet_load(path, semantics="norse", dt=1e-4), tmp_path / "n.nir")
    graph = quiet_load(tmp_path / "n.nir", semantics="snntorch", dt=1e-3)
    found = items(graph, "lif")
    assert found["form"] == {
        "value": "factor", "state": "changed", "by": ASKED, "before": "difference",
    }  # fmt: skip
    assert found["integrator"] == {"value": "euler", "state": "given", "by": ASKED}
    assert whole(graph)["dt"] == {
        "value": 1e-3, "state": "changed", "by": "option 'dt'", "before": 1e-4,
    }  # fmt: skip
    kept = quiet_load(tmp_path / "n.nir", semantics="snntorch")
    assert whole(kept)["dt"] == {"value": 1e-4, "state": "given", "by": RECORD}


def test_repairs_are_changes_of_the_node_they_mend(tmp_path: Path) -> None:
    four = np.ones(4, np.float32)
    lif = nir.LIF(tau=four * -0.01, r=four, v_leak=four * 0, v_threshold=four)
    model = nir_chain(nir.Linear(dyadic((3, 4))), lif, shape=[3], out=[4])
    graph = quiet_load(nir_file(tmp_path / "m.nir", model), repair=True)
    assert items(graph, "n0") == {
        "repair": {
            "value": "transpose the weights", "state": "changed", "by": "option 'repair'",
            "before": "weights [3, 4] expect 4 features, it gets 3",
        }
    }  # fmt: skip
    assert items(graph, "n1")["repair"]["value"] == "take its magnitude"
    assert items(graph, "n1")["integrator"]["state"] == "assumed"
    stepped = items(quiet(graph, "discretize"), "n1")
    assert stepped["repair"]["state"] == "changed"
    assert stepped["number_format"]["value"] == "f32"


def test_neurons_that_agree_are_one_group(tmp_path: Path) -> None:
    four = np.ones(4, np.float32)
    lif = [nir.LIF(four * tau, four, four * 0, four) for tau in (0.01, 0.02)]
    plain = nir.IF(four, four)
    model = nir_chain(*lif, plain, shape=[4], out=[4])
    graph = quiet_load(nir_file(tmp_path / "m.nir", model), semantics="snntorch")
    for made in (graph, graph.apply("discretize")):
        groups = snnir.meaning_of(made)["groups"]
        assert [(g["nodes"], g["model"]) for g in groups] == [(["n0", "n1"], "lif"), (["n2"], "if")]
    assert items(graph, "n2")["reset_timing"]["value"] == "net"


# --- Passes ---------------------------------------------------------------------------------------


def test_discretize_keeps_what_is_known_and_adds_the_numbers(tmp_path: Path) -> None:
    graph = quiet_load(nir_file(tmp_path / "m.nir"), compare="ge")
    before, after = items(graph, "n1"), items(graph.apply("discretize"), "n1")
    assert after.pop("number_format") == {  # type: ignore[attr-defined]
        "value": "f32", "state": "assumed",
        "by": "pass 'discretize': its programs compute in float32",
    }  # fmt: skip
    assert after["reset"] == {
        "value": "zero", "state": "assumed", "by": f"{DEFAULT}: to v_reset, which is 0",
    }  # fmt: skip
    assert before["reset"] == {"value": "to", "state": "assumed", "by": DEFAULT}
    assert {k: v for k, v in after.items() if k != "reset"} == {
        k: v for k, v in before.items() if k != "reset"
    }
    precise = items(graph.apply("discretize{dtype=f64}"), "n1")
    assert precise["parameter_format"]["value"] == "f64"
    assert precise["parameter_format"]["state"] == "given"


def test_the_fixed_point_form_brings_its_numbers(tmp_path: Path) -> None:
    graph = quiet_load(nir_recurrent(tmp_path / "m.nir"), semantics="lava")
    found = items(graph.apply("discretize"), "lif")["number_format"]
    assert found["value"] == "f64 holding integers in 1/4096"
    assert found["by"] == "semantics 'lava', asked for"


def test_discretize_says_what_it_decides_itself() -> None:
    graph = continuous("lif", **LIF)
    op = graph["n"].op
    assert isinstance(op, Neuron)
    editor = graph.edit()
    editor.set_op("n", replace(op, stepping=None))
    bare = editor.graph(dt=None)
    assert items(bare, "n") == {
        "stepping": {"value": "nobody has said", "state": "unknown", "by": ""}
    }
    made = quiet(bare, "discretize")
    assert items(made, "n")["integrator"] == {"value": "exact", "state": "assumed", "by": DEFAULT}
    assert whole(made)["dt"] == {
        "value": 1e-4, "state": "assumed", "by": "the default of 'exact'",
    }  # fmt: skip
    asked = bare.apply("discretize{semantics=snntorch,dt=0.002}")
    assert items(asked, "n")["integrator"] == {"value": "euler", "state": "given", "by": ASKED}
    assert whole(asked)["dt"] == {
        "value": 2e-3, "state": "given", "by": "pass 'discretize', its option dt",
    }  # fmt: skip


def test_a_model_without_linear_flow_is_stepped_by_euler_whatever_was_asked() -> None:
    values = {"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0, "v_threshold": 30.0}
    model = snnir.MODELS["izhikevich"]
    graph = continuous("izhikevich", **{n: values.get(n, 1.0) for n in model.params})
    assert set(items(graph, "n")) == {"integrator", "fire", "reset"}
    found = items(graph.apply("discretize"), "n")
    assert found["integrator"] == {
        "value": "euler", "state": "changed", "by": "pass 'discretize': no linear flow",
        "before": "exact",
    }  # fmt: skip


def test_quantize_changes_number_format_and_program(tmp_path: Path) -> None:
    made = feed_forward().apply("quantize{bits=4}")
    found = items(made, "lif")
    assert found["number_format"] == {
        "value": "i64, signals of 16 bits", "state": "changed", "by": "pass 'quantize{bits=4}'",
        "before": "f32",
    }  # fmt: skip
    assert found["program"]["before"] == "a step of the LIF family"
    assert found["reset"] == {"value": "zero", "state": "unknown", "by": ""}
    graph = quiet_load(nir_file(tmp_path / "m.nir"), compare="ge")
    found = items(graph.apply("discretize,declare-inputs,fuse-linear,quantize"), "n1")
    assert found["fire"] == {"value": "ge", "state": "given", "by": "option 'compare'"}
    assert found["number_format"]["by"] == "pass 'quantize'"


@dataclass(frozen=True)
class Fires(snnir.Pass):
    """Let a neuron fire at its threshold, or under another name, or anew."""

    name: ClassVar[str] = "fires"
    what: str = "compare"

    def run(self, graph: Graph) -> Graph:
        """Return the other graph."""
        node = graph["lif"]
        if self.what == "compare":
            op = replace(node.op, dynamics=snnir.LifStep(fire="ge"))  # type: ignore[call-arg]
            editor = graph.edit()
            editor.set_op("lif", op)
            return editor.graph(record_offset=3)
        op = node.op if self.what == "rename" else lif_step(refractory=2)
        editor = graph.edit()
        editor.put(Node("other", op, node.operands))
        editor.rewire(snnir.Value("lif"), snnir.Value("other"))
        editor.remove("lif")
        return editor.graph()


def test_what_any_pass_does_to_a_step_is_noticed() -> None:
    known = {"fire": Origin("gt", Origin.GIVEN, "me"), "reset": Origin("zero", Origin.GIVEN, "me")}
    origins = Origins(nodes={"lif": FrozenDict(known)})
    graph = replace(feed_forward(), provenance=Provenance("s", "d", ("n",), origins))

    def after(what: str) -> Graph:
        return snnir.Manager().run(graph, [Fires(what)]).graph

    changed = after("compare")
    assert items(changed, "lif")["fire"] == {
        "value": "ge", "state": "changed", "by": "pass 'fires'", "before": "gt",
    }  # fmt: skip
    assert items(changed, "lif")["reset"] == {"value": "zero", "state": "given", "by": "me"}
    assert whole(changed)["record_offset"] == {
        "value": 3, "state": "changed", "by": "pass 'fires'", "before": 0,
    }  # fmt: skip
    assert (changed.provenance.source, changed.provenance.notes) == ("s", ("n",))
    renamed = after("rename")
    assert items(renamed, "other")["fire"] == {"value": "gt", "state": "given", "by": "me"}
    anew = items(after("anew"), "other")
    assert states(anew) == {"changed"}
    assert anew["refractory"] == {"value": 2, "state": "changed", "by": "pass 'fires{what=anew}'"}


def test_what_nobody_recorded_is_unknown() -> None:
    graph = feed_forward()
    found = items(graph, "lif")
    assert states(found) == {"unknown"}
    assert found["reset"] == {"value": "zero", "state": "unknown", "by": ""}
    assert whole(graph)["dt"] == {"value": 1e-3, "state": "unknown", "by": ""}
    stepped = items(continuous("lif", **LIF).apply("discretize"), "n")
    assert stepped["integrator"] == {"value": "exact", "state": "unknown", "by": ""}


def test_an_edit_by_hand_shows_as_a_change_nobody_recorded(tmp_path: Path) -> None:
    graph = quiet_load(nir_file(tmp_path / "m.nir"), semantics="norse").apply("discretize")
    editor = graph.edit()
    op = graph["n1"].op
    assert isinstance(op, Step)
    assert isinstance(op.dynamics, snnir.LifStep)
    editor.set_op("n1", replace(op, dynamics=replace(op.dynamics, fire="ge")))
    made = editor.graph(dt=0.5)
    assert items(made, "n1")["fire"] == {
        "value": "ge", "state": "changed", "by": "", "before": "gt",
    }  # fmt: skip
    assert whole(made)["dt"]["value"] == 0.5
    assert whole(made)["dt"]["state"] == "changed"


# --- Files of snnir -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["snnir", "snn"])
def test_files_of_snnir_keep_origins(suffix: str, tmp_path: Path) -> None:
    graph = quiet_load(nir_recurrent(tmp_path / "m.nir"), compare="ge").apply("discretize")
    snnir.save(graph, tmp_path / f"m.{suffix}")
    back = snnir.load(tmp_path / f"m.{suffix}")
    assert snnir.meaning_of(back) == snnir.meaning_of(graph)
    assert back.provenance.origins == graph.provenance.origins
    assert "unknown" not in states(items(back, "lif")) | states(whole(back))


def test_another_choice_for_a_file_of_snnir_is_a_change(tmp_path: Path) -> None:
    snnir.save(continuous("lif", **LIF), tmp_path / "m.snnir")
    graph = snnir.load(tmp_path / "m.snnir", semantics="snntorch", compare="ge", dt=0.25)
    found = items(graph, "n")
    assert found["integrator"] == {
        "value": "euler", "state": "changed", "by": ASKED, "before": "exact",
    }  # fmt: skip
    assert found["fire"] == {
        "value": "ge", "state": "changed", "by": "option 'compare'", "before": "gt",
    }  # fmt: skip
    assert found["clamp"] == {"value": "none", "state": "given", "by": ASKED}
    assert whole(graph)["dt"] == {
        "value": 0.25, "state": "changed", "by": "option 'dt'", "before": 1e-3,
    }  # fmt: skip
    only = snnir.load(tmp_path / "m.snnir", dt=0.25)
    assert states(items(only, "n")) == {"unknown"}


SCALARS = st.one_of(
    st.text(max_size=4), st.integers(-9, 9), st.booleans(), st.floats(allow_nan=False)
)
ORIGINS = st.builds(
    Origin,
    SCALARS,
    st.sampled_from([Origin.GIVEN, Origin.ASSUMED, Origin.CHANGED, Origin.UNKNOWN]),
    st.text(max_size=4),
    st.one_of(st.none(), SCALARS),
)
ITEMS = st.dictionaries(st.text(max_size=4), ORIGINS, max_size=3).map(FrozenDict)


@given(ITEMS, st.dictionaries(st.text(max_size=3), ITEMS, max_size=4))
def test_the_text_form_keeps_every_origin(
    graph: FrozenDict[Origin], nodes: dict[str, FrozenDict[Origin]]
) -> None:
    origins = Origins(graph, FrozenDict(nodes))
    made = replace(feed_forward(), provenance=Provenance(origins=origins))
    back = snnir.parse(str(made))
    assert str(back) == str(made)
    found = back.provenance.origins
    assert found.plain() == origins.plain()
    assert {k: {n: o.plain() for n, o in v.items()} for k, v in found.nodes.items()} == {
        k: {n: o.plain() for n, o in v.items()} for k, v in nodes.items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "3", "{graph = 3}", "{other = {}}", '{graph = {a = ["given", 1]}}',
        '{graph = {a = ["told", 1, ""]}}', '{graph = {a = ["given", [1], ""]}}',
        '{graph = {a = ["given", 1, 2]}}', '{graph = {a = ["given", 1, "", none, 2]}}',
        '{graph = {a = ["given", f32 1.0, ""]}}', "{groups = 3}", "{groups = [3]}",
        "{groups = [{nodes = []}]}", "{groups = [{nodes = [3], items = {}}]}",
        "{groups = [{nodes = 3, items = {}}]}", '{groups = [{nodes = ["a"], items = 3}]}',
    ],
)  # fmt: skip
def test_wrong_origins_in_a_file_are_an_error_with_a_place(text: str) -> None:
    lines = str(feed_forward()).rstrip("\n")
    with pytest.raises(snnir.SnnirError, match="SNN102") as caught:
        snnir.parse(f"{lines}\nprovenance {{origins = {text}}}\n")
    assert "provenance" in caught.value.diagnostics[0].message


# --- Live models ----------------------------------------------------------------------------------


def leaky(state: Any, x: Any) -> Any:
    """One step of a neuron in plain JAX."""
    h = 0.875 * state + x
    spike = (h > 1.0).astype(h.dtype)
    return h * (1 - spike), spike


@pytest.mark.framework
@pytest.mark.slow
def test_a_step_function_of_jax_gives_its_program() -> None:
    pytest.importorskip("jax")
    zero = np.zeros(3, np.float32)
    graph = snnir.from_jax(leaky, zero, zero + 0.5, dt=1e-3)
    (group,) = (g for g in snnir.meaning_of(graph)["groups"] if "program" in g["items"])
    assert states(group["items"]) == {"given"}
    assert {each["by"] for each in group["items"].values()} == {"the live step function"}
    assert whole(graph)["dt"] == {"value": 1e-3, "state": "given", "by": "option 'dt'"}
    bare = snnir.from_jax(leaky, zero, zero + 0.5)
    assert whole(bare)["dt"] == {"value": "none", "state": "unknown", "by": ""}


@pytest.mark.framework
@pytest.mark.slow
def test_a_live_module_gives_every_attribute_of_its_steps() -> None:
    torch = pytest.importorskip("torch")
    snntorch = pytest.importorskip("snntorch")

    class Net(torch.nn.Module):  # type: ignore[name-defined]
        """A layer of leaky neurons."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(3, 4)
            self.lif = snntorch.Leaky(beta=0.9, init_hidden=True, reset_mechanism="subtract")

        def forward(self, x: Any) -> Any:
            """One step."""
            return self.lif(self.fc(x))

    graph = snnir.from_torch(Net(), (3,), layout="step")
    found = items(graph, "lif")
    assert states(found) == {"given"}
    assert found["reset"] == {"value": "subtract", "state": "given", "by": "the live module"}
    assert found["reset_timing"]["value"] == graph["lif"].op.dynamics.reset_timing  # type: ignore[attr-defined]
    assert found["number_format"]["value"] == "f32"
    kept = items(graph.apply("canonicalize,dead-code"), "lif")
    assert kept == found
