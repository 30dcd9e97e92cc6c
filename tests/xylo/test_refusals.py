"""Everything that does not fit is said at once, with the place, the limit and what would help."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Add, Delay, Linear, MaxPool2d, Node, Reshape, Step, Value, Winner
from tests.helpers import graph, params
from tests.xylo.nets import Nodes, cuba, gate, given, lif, linear, recurrent, two_layers


def problems(g: Any, **options: Any) -> list[str]:
    found = snnir.check(g, "xylo", **options)
    assert {problem.code for problem in found} <= {"SNN501"}
    if found:
        with pytest.raises(snnir.SnnirError) as failure:
            snnir.compile(g, "xylo", **options)
        assert len(failure.value.diagnostics) == len(found)
    return [str(problem) for problem in found]


def ones(*shape: int) -> Any:
    return np.full(shape, 0.5, np.float32)


def test_all_counts_at_once() -> None:
    g = two_layers(ones(600, 20), ones(9, 600), cuba(), cuba())
    first, second = problems(g, chip="xylo-audio-2", tails="keep")
    assert first == (
        "error[SNN501]: node 'input': 20 input channels, xylo-audio-2 has 16: 4 too many; "
        "pool or encode the input further"
    )
    assert second == (
        "error[SNN501]: node 'readout': 9 output neurons, xylo-audio-2 has 8: 1 too many; "
        "give out fewer, or use chip=xylo-imu or xylo-audio-3"
    )
    found = problems(g, chip="xylo-imu")
    assert any(
        "node 'hidden': 600 hidden neurons, xylo-imu has 496: 104 too many" in one
        and "use chip=xylo-audio-2 or xylo-audio-3" in one
        for one in found
    )


def test_the_largest_population_is_named() -> None:
    nodes: Nodes = {"input": given(4)}
    before, width = "input", 4
    for name, size in (("a", 300), ("b", 500), ("c", 400)):
        nodes[f"to {name}"] = (linear(ones(size, width)), [before])
        nodes[name] = (cuba(), [f"to {name}"])
        before, width = name, size
    nodes["last"] = (linear(ones(2, 400)), ["c"])
    nodes["out"] = (cuba(), ["last"])
    (found,) = problems(graph(nodes, "out", dt=1e-3).verify(), chip="xylo-audio-2")
    assert "node 'b': 1200 hidden neurons, xylo-audio-2 has 1000: 200 too many" in found
    assert "the largest of 3, with 500" in found


def test_fan_out() -> None:
    g = recurrent(ones(100, 4), ones(100, 100), ones(2, 100), cuba(), cuba())
    (found,) = problems(g, chip="xylo-audio-2")
    assert "node 'hidden': 100 of its 100 neurons have up to 100 recurrent connections" in found
    assert "xylo-audio-2 has 64 per neuron" in found
    assert "prune" in found
    assert "chip=xylo-imu or xylo-audio-3" in found
    assert problems(g, chip="xylo-imu") == []


def test_connections() -> None:
    nodes: Nodes = {"input": given(4)}
    before, width = "input", 4
    for name, size in (("a", 100), ("b", 200), ("c", 100)):
        nodes[f"to {name}"] = (linear(ones(size, width)), [before])
        nodes[name] = (cuba(), [f"to {name}"])
        before, width = name, size
    nodes["last"] = (linear(ones(2, 100)), ["c"])
    nodes["out"] = (cuba(), ["last"])
    (found,) = problems(graph(nodes, "out", dt=1e-3).verify(), chip="xylo-imu")
    assert "node 'a': 40000 recurrent connections, xylo-imu has 31744: 8256 too many" in found


def test_reach_of_input_and_output_weights() -> None:
    first, second = problems(
        two_layers(ones(150, 4), ones(3, 150), cuba(), cuba()), chip="xylo-imu"
    )
    assert "inputs feed it, and reach only the first 128 hidden neurons of xylo-imu; 22 " in first
    assert "only the last 128 hidden neurons of xylo-imu reach; 22 of its" in second
    assert "chip=xylo-audio-2" in second
    assert not problems(two_layers(ones(150, 4), ones(3, 150), cuba(), cuba()))


def test_populations_are_placed_within_reach() -> None:
    nodes: Nodes = {"input": given(4)}
    before, width = "input", 4
    for name in ("a", "b", "c"):
        nodes[f"to {name}"] = (linear(ones(100, width) * np.eye(100, width)), [before])
        nodes[name] = (cuba(), [f"to {name}"])
        before, width = name, 100
    nodes["last"] = (linear(ones(2, 100)), ["c"])
    nodes["out"] = (cuba(), ["last"])
    g = graph(nodes, "out", dt=1e-3).verify()
    made: Any = snnir.compile(g, "xylo", chip="xylo-imu")
    places = {span.name: span.first for span in made.network.populations}
    assert places == {"a": 0, "b": 100, "c": 200, "out": 0}


def test_copies_that_do_not_fit_are_left_out_or_refused() -> None:
    g = two_layers(ones(100, 4), ones(3, 100), lif(), lif())
    made: Any = snnir.compile(g, "xylo", chip="xylo-imu")
    assert not made.plan.layout.cancels
    (said,) = (
        e.what for e in snnir.losses(g, "xylo", chip="xylo-imu").losses if e.node == "hidden"
    )
    assert "it has no synapse; the chip's spreads events over some steps" in said
    assert problems(g, chip="xylo-imu", tails="cancel")
    roomy: Any = snnir.compile(two_layers(ones(50, 4), ones(3, 50), lif(), lif()), "xylo")
    assert roomy.plan.layout.cancels
    big = two_layers(ones(600, 4), ones(3, 600), lif(), lif())
    found = problems(big, chip="xylo-audio-2", tails="cancel")[0]
    assert "1204 hidden neurons, 604 of them copies, xylo-audio-2 has 1000: 204 too many" in found


def test_latencies_that_disagree() -> None:
    g = two_layers(ones(5, 3), ones(4, 5), cuba(), cuba())
    editor = g.edit()
    editor.put(Node("skip", linear(ones(5, 3)), (Value("input"),)))
    editor.put(Node("middle", linear(ones(5, 5)), (Value("hidden"),)))
    editor.put(Node("both", Add(), (Value("skip"), Value("middle"))))
    editor.put(Node("second", cuba(), (Value("both"),)))
    editor.put(Node("fc2", linear(ones(4, 5)), (Value("second"),)))
    (found,) = problems(editor.graph().verify())
    assert "node 'second': events that meet in the graph would not meet on the chip" in found
    assert "from 'hidden' 1 step late, from 'input' 0 steps late" in found
    assert "give the paths the delays" in found
    # With the delay the message asks for, it fits.
    editor.put(Node("wait", Delay(1), (Value("hidden"),)))
    editor.put(Node("middle", linear(ones(5, 5)), (Value("wait"),)))
    assert problems(editor.graph().verify()) == []


def test_recurrences_take_one_step() -> None:
    g = recurrent(ones(5, 3), ones(5, 5), ones(2, 5), cuba(), cuba(), delay=2)
    (found,) = problems(g)
    assert (
        "node 'hidden': its recurrence takes 2 steps in the graph; on the chip it takes one"
        in found
    )
    late = recurrent(ones(5, 3), ones(5, 5), ones(2, 5), cuba(synapse_order="late"), cuba())
    (found,) = problems(late)
    assert "its recurrence takes 2 steps" in found


def test_ops_and_neurons_without_a_form() -> None:
    nodes: Nodes = {
        "input": given(16),
        "picture": (Reshape((1, 4, 4)), ["input"]),
        "pool": (MaxPool2d((2, 2), (2, 2)), ["picture"]),
        "flat": (Reshape((4,)), ["pool"]),
        "fc": (linear(ones(4, 4)), ["flat"]),
        "adex": (Step(lif().program, params(beta=0.5, threshold=1.0), "adex"), ["fc"]),
        "fc2": (linear(ones(4, 4)), ["adex"]),
        "keeps": (Step(snnir.LifStep(reset="none"), params(beta=0.5, threshold=1.0)), ["fc2"]),
        "fc3": (linear(ones(4, 4)), ["keeps"]),
        "never": (lif(threshold=-1.0), ["fc3"]),
        "fc4": (linear(ones(4, 4)), ["never"]),
        "grows": (lif(beta=1.5), ["fc4"]),
        "best": (Winner(), ["grows"]),
    }
    found = problems(graph(nodes, "best", dt=1e-3).verify())
    for text in (
        "node 'pool': op 'max_pool2d' is no sum of weighted events; use sum or mean pools",
        "node 'adex': model 'adex' is no member of the LIF family",
        "node 'keeps': keeps its membrane after a spike; the chip always subtracts",
        "node 'never': has a threshold of -1; the chip's are positive",
        "node 'grows': its membrane is multiplied by 1.5 to 1.5 per step",
        "node 'best': op 'winner' is no sum",
        "node 'best': output 'output' is neither the spikes nor the membrane",
    ):
        assert any(text in one for one in found), (text, found)


def test_membranes_cannot_be_passed_on() -> None:
    integrator = Step(snnir.LifStep(fire="never", reset="none"), params(beta=0.5), "li")
    g = two_layers(ones(5, 3), ones(4, 5), integrator, cuba())
    first, second = problems(g)
    assert "node 'fc2': reads the membrane of 'hidden'" in first
    assert "node 'hidden': has no spikes and is no output" in second
    nodes: Nodes = {
        "input": given(3),
        "fc": (linear(ones(2, 3)), ["input"]),
        "li": (integrator, ["fc"]),
    }
    (found,) = problems(graph(nodes, "li", dt=1e-3).verify())
    assert "is read by its membrane and fed by an input" in found
    assert "put a spiking population before it" in found


def test_delays_per_element_and_weights_that_are_elsewhere() -> None:
    g = two_layers(ones(5, 3), ones(4, 5), cuba(), cuba())
    editor = g.edit()
    uneven = Delay(snnir.Tensor(np.array([0, 1, 0, 2, 0])))
    editor.put(Node("wait", uneven, (Value("hidden"),)))
    editor.put(Node("fc2", g["fc2"].op, (Value("wait"),)))
    (found,) = problems(editor.graph().verify())
    assert "node 'wait': delays its elements by 0 to 2 steps" in found
    editor = g.edit()
    gone = snnir.Tensor.unresolved("0" * 16, (5, 3), "f32")
    editor.put(Node("fc1", Linear(gone), (Value("input"),)))
    (found,) = problems(editor.graph())
    assert "node 'fc1': its weights are not at hand" in found


def test_graphs_in_integers_are_sent_back() -> None:
    g = two_layers(
        ones(5, 3), ones(4, 5), gate(1.0, spikes="single"), lif(spikes="single", spike_cap=0)
    )
    q = g.apply("quantize")
    found = problems(q)
    assert any("compile the graph before it is quantised" in one for one in found)


def test_options() -> None:
    g = two_layers(ones(5, 3), ones(4, 5), cuba(), cuba())
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"chip": "xylo"}, "use one of xylo-audio-2, xylo-imu, xylo-audio-3"),
        ({"tails": "maybe"}, "use one of auto, cancel, keep"),
        ({"speed": "1"}, "has no option 'speed'"),
        ({"calibrate": "/nowhere/x.npy"}, "SNN601"),
    ]
    for options, text in wrong:
        with pytest.raises(snnir.SnnirError, match=text):
            snnir.compile(g, "xylo", **options)


def test_inputs() -> None:
    made = snnir.compile(two_layers(ones(5, 3), ones(4, 5), cuba(), cuba()), "xylo")
    wrong = np.zeros((5, 2, 3), np.float32)
    wrong[2, 1, 0] = 0.5
    with pytest.raises(snnir.SnnirError, match="must be 0 or 1"):
        made.run(wrong)
    counts = two_layers(ones(5, 3), ones(4, 5), cuba(), cuba())
    editor = counts.edit()
    editor.put(Node("input", given(3, snnir.Kind.ANALOG)[0]))
    made = snnir.compile(editor.graph().verify(), "xylo")
    for value in (0.5, 16.0, -1.0):
        wrong[2, 1, 0] = value
        text = f"SNN601.*'input': {value:g} at step 2, sample 1, channel .0.; .* from 0 to 15"
        with pytest.raises(snnir.SnnirError, match=text):
            made.run(wrong)
    with pytest.raises(
        snnir.SnnirError, match="SNN602.*cannot be recorded on the chip; what can be: hidden"
    ):
        made.run(np.zeros((5, 2, 3)), ["fc1"])
    made.run(np.zeros((5, 2, 3)))
    with pytest.raises(snnir.SnnirError, match="resumes with a batch of 3"):
        made.run(np.zeros((5, 3, 3)), resume=True)
