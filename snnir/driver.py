"""The public verbs: load, save, compile, check, run."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from snnir.artefact import semantics_of
from snnir.errors import Diagnostic, SnnirError, error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron, Step
from snnir.presets import DEFAULT, preset
from snnir.progress import progress, tell, tell_more
from snnir.reader_origins import of_live, of_topology, stepped_again
from snnir.running import Result
from snnir.semantic_items import Choice, deciding
from snnir.semantics import Semantics
from snnir.target import Compiled, build_for, losses_of, misfits, target_from

if TYPE_CHECKING:
    import nir

    from snnir.loss_report import LossReport


#: Files in the `snn` dialect: text and bytecode.
MLIR_SUFFIXES = (".mlir", ".mlirbc")


def load(
    path: str | Path,
    *,
    semantics: str | Semantics | None = None,
    dt: float | None = None,
    repair: bool = False,
    **options: Any,
) -> Graph:
    """Read a model; the format is found from the content, that of MLIR from the suffix.

    Args:
        path: A `.nir` file, a `.snnir` file, the text form, `.mlir` or `.mlirbc` in the `snn`
            dialect, or what a plug-in reads.
        semantics: Preset for what the file leaves open, such as `snntorch`; see `snnir.presets`.
        dt: Seconds per step.
        repair: Apply repairs to an inconsistent NIR file; they are listed as warnings and in
            `graph.provenance.notes`.
        options: Single attributes to override, such as `integrator="euler"`, `reset="subtract"`,
            `compare="ge"`, `recurrent_delay=1`; see `snnir.semantics`.

    Returns:
        A verified graph.

    Raises:
        SnnirError: Whatever keeps the file from being read.
    """
    began = time.perf_counter()
    with progress(f"reading {Path(path).name}"):
        graph, form = _load(Path(path), semantics, dt, repair, options)
    named = semantics.name if isinstance(semantics, Semantics) else semantics
    given = {"semantics": named, "dt": dt, **options}
    chosen = ", ".join(f"{key}={value}" for key, value in given.items() if value is not None)
    tell(
        "read %s as %s (%s): %d nodes, dt %s s, %s, %.2f s", path, form, _size(Path(path)),
        len(graph), graph.dt, chosen or "its own semantics", time.perf_counter() - began,
    )  # fmt: skip
    for name, rules in semantics_of(graph).items():
        tell_more("node '%s': %s", name, rules)
    return graph


def _size(path: Path) -> str:
    try:
        return f"{path.stat().st_size:,} bytes"
    except OSError:  # what a plug-in reads need not be a file
        return "no file"


def _load(
    path: Path,
    semantics: str | Semantics | None,
    dt: float | None,
    repair: bool,
    options: dict[str, Any],
) -> tuple[Graph, str]:
    """Return a graph and the name of its reader."""
    from snnir.ir.file import read_snnir, sniff
    from snnir.registry import frontend_for, lookup

    plugged = frontend_for(path)
    if plugged is not None:
        graph = _read_by(plugged, path, semantics=semantics, dt=dt, **options)
        return graph, f"{path.suffix} (plug-in)"
    if path.suffix in MLIR_SUFFIXES and not path.is_dir():
        from snnir.mlir.file import read_file

        graph, form = read_file(path), "the snn dialect of MLIR"
    elif (form := sniff(path)) == "nir":
        reader = lookup("frontends", "nir", "SNN101")
        stepped: Graph = reader(path, semantics=semantics, dt=dt, repair=repair, **options)
        return stepped, "NIR"
    else:
        graph = _verified(read_snnir(path), path)
    if semantics is None and dt is None and not options:
        return graph, form
    return restep(graph, semantics, dt, options), form


def _verified(graph: Graph, path: Path) -> Graph:
    """Return the graph; what is wrong with it is told with the file's name."""
    try:
        return graph.verify()
    except SnnirError as failure:
        raise SnnirError(replace(d, source=str(path)) for d in failure.diagnostics) from None


def _read_by(reader: Any, path: Path, **options: Any) -> Graph:
    """Read a file with a plug-in, whoever wrote that."""
    where = f"frontend '{path.suffix[1:]}'"
    given = {name: value for name, value in options.items() if value is not None}
    try:
        graph = reader(path, **given)
    except SnnirError:
        raise
    except Exception as failure:
        what = f"{type(failure).__name__}: {failure}".splitlines()[0]
        hint = "report this to the author of the plug-in, if the file is right"
        raise error("SNN101", f"{where} failed: {what}", source=str(path), hint=hint) from failure
    if not isinstance(graph, Graph):
        raise error("SNN101", f"{where} returned a {type(graph).__name__}", source=str(path))
    return graph.verify()


def from_torch(
    net: Any,
    input_shape: Sequence[int] | None = None,
    *,
    example: Any = None,
    layout: str | None = None,
    dt: float | None = None,
    name: str | None = None,
) -> Graph:
    """Read a live torch module of snnTorch, Sinabs, SpikingJelly or Norse.

    The module is run for a few steps and what it does in one step becomes the graph; its states,
    buffers and the random generators are put back. Neurons are recognised by their class, and
    each one's step program is compared with the recorded run.

    Args:
        net: A `torch.nn.Module`; it is left as it was. A network of BindsNET is read by
            `from_bindsnet`.
        input_shape: Shape of one sample in one step, without time and batch.
        example: Instead of a shape: an input [T, B, *shape] to record with.
        layout: How the model takes its input, if that is not found by itself: `TB` for
            [T, B, ...], `BT` for [B, T, ...], `B*T` or `T*B` for both merged, `step` for one step
            per call, `static` for a model that repeats one input in a loop of its own.
        dt: Seconds per step, to be noted in the graph; Norse's own by default.
        name: Name of the graph; the class's by default.

    Returns:
        A verified graph of step programs. What the model does with the whole sequence at its end,
        such as a sum over time, is left out and said in `graph.provenance.notes`.

    Raises:
        SnnirError: SNN801 to SNN808, naming the module and line.
    """
    from snnir.registry import lookup
    from snnir.sides import is_bindsnet, is_to_torch

    if is_to_torch(net):
        hint = "its graph with its weights is snnir.update(graph, net)"
        raise error("SNN801", "the module was made by snnir.to_torch", hint=hint)
    if is_bindsnet(net):
        _check_alone(input_shape=input_shape, example=example, layout=layout, dt=dt)
        return from_bindsnet(net, name=name)
    reader = lookup("frontends", "torch", "SNN101")
    with progress(f"reading a {type(net).__name__}"):
        graph: Graph = reader(net, input_shape, example=example, layout=layout, dt=dt, name=name)
    tell("read a live %s as torch: %d nodes", type(net).__name__, len(graph))
    return of_live(graph, "module", dt)


def _check_alone(**given: Any) -> None:
    """Raise unless nothing is given: a network of BindsNET says it all."""
    for name, value in given.items():
        if value is not None:
            hint = "leave it out, or call snnir.from_bindsnet"
            raise error("SNN801", f"a network of BindsNET takes no {name}", hint=hint)


def from_bindsnet(
    network: Any,
    *,
    inputs: Sequence[str] = (),
    draws: str = "counter",
    seed: int = 0,
    name: str | None = None,
    **run: Any,
) -> Graph:
    """Read a live network of BindsNET 0.3.4 with its learning rules.

    A run of the graph is `Network.run` after `reset_state_variables`, in the order of its steps.
    The graph is run beside a copy of the network; how they compare is in
    `graph.provenance.notes`. See docs/bindsnet.md.

    Args:
        network: A `bindsnet.network.Network`; it is left as it was. If it does not learn
            (`network.train(False)`), nor does the graph.
        inputs: Layers, besides those of class `Input`, that take a current from outside: input
            `LAYER.input` [T, B, *shape].
        draws: `counter`: random numbers are those of the op `uniform`; `input`: they are inputs
            `LAYER.draw` [T, B, *shape], such as `bindsnet_draws` gives.
        seed: Of the first of the layers that draw, from 0 to 2**64 - 1; each further layer takes
            the next.
        name: Name of the graph.
        run: What `Network.run` would be given: `one_step`; `masks`, {(source, target): bool
            [pre, post]}; `a_plus` and `a_minus`, a float or {(source, target): float}. Others,
            such as `clamp`, are refused.

    Returns:
        A verified graph. Its outputs are the spikes of all layers but inputs, by the name of the
        layer; its inputs are the `Input` layers, `LAYER.input`, `LAYER.draw` and `reward` [1].

    Raises:
        SnnirError: SNN801, SNN802 and SNN807 for everything that cannot be read, by layer and
            connection; SNN808 if BindsNET does something else here.
    """
    from snnir.registry import lookup

    reader = lookup("frontends", "bindsnet", "SNN101")
    with progress("reading a network of BindsNET"):
        graph: Graph = reader(network, inputs=inputs, draws=draws, seed=seed, name=name, **run)
    tell("read a live network of BindsNET: %d nodes", len(graph))
    return of_live(graph, "network")


def bindsnet_draws(
    network: Any, x: npt.ArrayLike | Mapping[str, npt.ArrayLike], **options: Any
) -> dict[str, npt.NDArray[Any]]:
    """Return the random numbers that a network of BindsNET would draw in its next run.

    A copy of the network runs from rest with torch's random state as it is now; that and the
    network stay as they are.

    Args:
        network: The network.
        x: What the run would take: [T, B, *shape] by input of the graph, or one such array.
        options: Those of `from_bindsnet`.

    Returns:
        `LAYER.draw` [T, B, *shape] for every layer that draws: inputs of a graph that was read
        with `draws="input"`.

    Raises:
        SnnirError: SNN601 if x does not fit the inputs, SNN801 if BindsNET fails, SNN808 if torch
            draws in another way than is known.
    """
    from snnir.registry import lookup

    found: dict[str, npt.NDArray[Any]] = lookup("live", "bindsnet-draws", "SNN101")(
        network, x, **options
    )
    return found


def from_export(
    step: Any,
    state: Any,
    example: Any,
    *,
    order: str = "x-state",
    batched: bool = True,
    dt: float | None = None,
    name: str | None = None,
) -> Graph:
    """Read a step function in plain torch, neurons of one's own included, by `torch.export`.

    The function is exported and its ATen operations become the graph: products with matrices and
    convolutions are synapses, elementwise chains around a state are neurons. The graph is then run
    beside torch over some steps; where it is not equal in every bit, because sums are added up in
    another order, a note says so.

    Args:
        step: A `torch.nn.Module` or function `(x, state) -> (output, state)`, in evaluation mode,
            or a `torch.export.ExportedProgram` of one. Modules that keep state themselves, in
            buffers or attributes, are taken as they are: `x -> output`.
        state: The state before the first step: a tensor or any structure of tensors (tuples,
            named tuples, dictionaries). None if `step` neither takes nor returns one.
        example: An input of one step, float32: a tensor or a structure of tensors.
        order: `state-x` for `(state, x) -> (state, output)`, as JAX has it.
        batched: The first axis of input and state is the batch. Its samples must not be mixed;
            the state must start the same for all.
        dt: Seconds per step, to be noted in the graph.
        name: Name of the graph; that of the class or function by default.

    Returns:
        A verified graph of step programs, whose tensors carry the module's parameter names.

    Raises:
        SnnirError: SNN801 if the step does not run as said, SNN803 listing every operation
            without counterpart with its source line (at most 20), SNN804 for a course that
            depends on the data or mixes samples, SNN805 for what changes from call to call but is
            no tensor, SNN806 for random numbers, SNN807 for types other than float32, SNN808 if
            the graph does not do what torch does, SNN107 for a file.
    """
    from snnir.registry import lookup

    try:
        reader = lookup("frontends", "export", "SNN101")
    except ImportError as missing:
        raise error("SNN801", f"torch is not there ({missing})", hint="install torch") from None
    with progress("reading a step function of torch"):
        graph: Graph = reader(step, state, example, order=order, batched=batched, dt=dt, name=name)
    tell("read a step function of torch: %d nodes", len(graph))
    return of_live(graph, "step function", dt)


def from_jax(
    model: Any,
    state: Any = None,
    example: Any = None,
    *,
    params: Any = None,
    dt: float | None = None,
    name: str | None = None,
    **more: Any,
) -> Graph:
    """Read a topology of jaxsnn, or any JAX step function (state, input) -> (state, output).

    Topologies are read module by module; discrete neurons are compared with a compiled run.

    Step functions are read from their jaxpr: products with constants become synapses, elementwise
    chains step programs, comparisons spikes. A function that runs `lax.scan` over a sequence from
    a given state is entered. The graph is run beside the function for some steps.

    Args:
        model: A finished `jaxsnn.discrete` or `jaxsnn.event` topology, or the step function; what
            that closes over is constant.
        state: Of a step function: its first state, any pytree of float32, int32 or bool arrays.
        example: Of a step function: an input of one step, any pytree of arrays; for a function
            that scans over time, a sequence. Its values are tried, so give it the size inputs have.
        params: Of a topology: what its `init` returned, or trained from it: {node: weights
            [source, target], or None}. Of a step function: a pytree that it takes before the
            state; its paths name the weights.
        dt: Seconds per step. A discrete topology has its own; that of an event topology's graph
            is 1e-6 by default.
        name: Name of the graph.
        more: Of a discrete topology: `ties`, what a membrane exactly on its threshold emits:
            "half", as jaxsnn does (0.5; populations then give real numbers), "spike" or "none"
            (populations then give spikes). Of a step function: `batched=True` if the leading axis
            of inputs and states is that of samples; `contraction="none"` for operations that round
            one by one, `"xla-cpu"` for the fused ones of XLA's CPU compiler; by default what
            equals a compiled run of the function.

    Returns:
        A verified graph; `graph.provenance.notes` says how it rounds and what was left out. Of an
        event topology: neurons in continuous time, with the delays of its projections.

    Raises:
        SnnirError: SNN303, or SNN801 to SNN808, naming node, or equation and line.
    """
    from snnir.registry import lookup
    from snnir.sides import is_topology

    if is_topology(model):
        if state is not None or example is not None:
            raise error("SNN801", "a jaxsnn topology takes params, not state and example")
        reader = lookup("frontends", "jaxsnn", "SNN101")
        with progress("reading a jaxsnn topology"):
            topology: Graph = reader(model, params, dt=dt, name=name, **more)
        tell("read a jaxsnn topology: %d nodes", len(topology))
        return of_topology(topology, dt, more.get("ties"))
    reader = lookup("frontends", "jaxpr", "SNN101")
    with progress("reading a step function of JAX"):
        graph: Graph = reader(model, state, example, params=params, dt=dt, name=name, **more)
    tell("read a step function of JAX: %d nodes", len(graph))
    return of_live(graph, "step function", dt)


def from_step(step: Any, state: Any, example: Any, **options: Any) -> Graph:
    """Read a step function of torch by `from_export`, of JAX by `from_jax`.

    Args:
        step: The step function, as these take it.
        state: Its first state.
        example: An input of one step; torch is told by its tensors, or by the step itself.
        options: Theirs.
    """
    from snnir.sides import is_torch_step

    read = from_export if is_torch_step((step, state, example)) else from_jax
    return read(step, state, example, **options)


def restep(
    graph: Graph, semantics: str | Semantics | None, dt: float | None, options: Mapping[str, Any]
) -> Graph:
    """Return a graph of continuous neurons with another stepping record or dt.

    Raises:
        SnnirError: SNN301 for neurons that are already step programs.
    """
    fixed = [node.name for node in graph.nodes.values() if isinstance(node.op, Step)]
    if fixed:
        raise error(
            "SNN301",
            "is a step program already; its semantics and dt cannot be chosen again",
            node=fixed[0],
            hint="load the continuous model instead",
        )
    base = semantics if isinstance(semantics, Semantics) else preset(semantics or DEFAULT)
    chosen = base.with_options(options)
    editor = graph.edit()
    choice = None
    if semantics is not None or options:
        choice = Choice(chosen, semantics is not None, deciding(base, options))
        for node in graph.nodes.values():
            if isinstance(node.op, Neuron):
                stepping = chosen.for_model(node.op.model)
                editor.set_op(node.name, replace(node.op, stepping=stepping))
    step = dt if dt is not None else graph.dt if graph.dt is not None else chosen.dt
    return stepped_again(graph, editor.graph(dt=step), choice, dt, chosen.name).verify()


def parse(text: str) -> Graph:
    """Read the text form of a graph; weights given by name and digest only stay unresolved."""
    from snnir.ir.parser import parse_graph

    return parse_graph(text)


def save(graph: Graph, path: str | Path) -> None:
    """Write a graph, by the suffix; whole or not at all.

    Args:
        graph: The graph.
        path: A `.nir`, `.snnir`, `.snn` (text), `.mlir` (text) or `.mlirbc` (bytecode) file.

    Raises:
        SnnirError: SNN501 for what the format cannot express, SNN503 for bytecode where MLIR is
            not installed, SNN702 if the file cannot be written.
    """
    from snnir.artefact import replacing

    path = Path(path)
    graph.verify()
    if path.suffix == ".snn":
        with replacing(path) as file:
            file.write(str(graph).encode("utf-8"))
    elif path.suffix in (".nir", ".snnir"):
        target_from(path.suffix[1:], {})
        from snnir.registry import lookup

        lookup("targets", path.suffix[1:], "SNN503").write(graph, path)
    elif path.suffix in MLIR_SUFFIXES:
        from snnir.mlir.file import write_file

        write_file(graph, path)
    else:
        raise error(
            "SNN702",
            f"the suffix '{path.suffix}' names no format",
            source=str(path),
            hint="use .nir, .snnir, .snn, .mlir or .mlirbc",
        )


def to_nir(graph: Graph) -> nir.NIRGraph:
    """Return a `nir.NIRGraph` with the discrete semantics in node metadata.

    Raises:
        SnnirError: SNN501 listing everything NIR cannot express.
    """
    from snnir.registry import lookup

    result: nir.NIRGraph = lookup("targets", "nir", "SNN503").to_nir(graph)
    return result


def export(graph: Graph, framework: str, **options: Any) -> Any:
    """Return a graph as a live, trainable model of another framework.

    Args:
        graph: The graph; continuous neurons are stepped as their record says.
        framework: `snntorch`, `sinabs`, `spikingjelly`, `norse` or `jaxsnn`.
        options: Options of the target, such as `cells="native"`.

    Returns:
        A `torch.nn.Module` in evaluation mode that takes and returns [T, B, ...] ([B, T, ...] for
        Sinabs) and starts every call at rest; for jaxsnn a finished topology and its parameters,
        (topology, params), whose `init` and `apply` its `done()` returns. Its spikes equal the
        graph's: neurons are layers of the framework where these are provably equal, generated
        cells of it elsewhere.

    Raises:
        SnnirError: SNN501 listing what the framework cannot express, SNN503 if the name is not a
            framework's or it is not installed.
    """
    target = target_from(framework, options)
    built = build_for(target, graph.verify(), level=0)
    if not hasattr(built, "module"):
        raise error(
            "SNN503", f"target '{framework}' is no framework with models of its own",
            hint="use snntorch, sinabs, spikingjelly, norse or jaxsnn",
        )  # fmt: skip
    return built.module()


def to_torch(graph: Graph, *, start: Graph | None = None, **options: Any) -> Any:
    """Return a graph as a trainable `torch.nn.Module` over [T, B, *shape].

    Parameters carry the names of the graph, such as `fc1.weight`. The module starts every call at
    rest unless `net.stateful` is set.

    Args:
        graph: The graph; continuous neurons are stepped as their record says. The weights of a
            graph of integers are trained as real numbers that are rounded when they are used.
        start: The graph in floating point that `graph` was quantised from: training starts at its
            weights instead of the rounded ones, from which few would ever move.
        options: Options of the target: `surrogate="atan{alpha=2}"`, `detach_reset=True`,
            `trained="weights"|"all"|"none"`, `backend`, `precision`, `device`.

    Raises:
        SnnirError: SNN503 if torch, the backend or the device is not there; SNN501 listing what
            cannot be expressed.
        ValueError: If weights of `start` have another shape than those of the graph.
    """
    built: Any = build_for(target_from("torch", options), graph.verify(), level=0)
    if start is not None:
        built.net.start_at({name: value.numpy() for name, value in start.tensors().items()})
    return built.net


def train_for(graph: Graph, target: str, **options: Any) -> Any:
    """Return a graph as a `torch.nn.Module` that is trained as a chip runs it.

    Weights are those of the chip in every pass, and its variation or its own spikes can be part of
    it. After training, `.graph()` returns the graph with the trained weights.

    Args:
        graph: The graph; continuous neurons are stepped as their record says.
        target: A chip: `bss2`.
        options: Of `bss2`: `weight_bits=6`, `mismatch=True` or sigmas by name,
            `resample="batch"|"fixed"`, `seed`, `in_the_loop` (conditions of a run of the emulated
            chip), `observe` (what populations did on a chip), the options of the target and those
            of `to_torch`. See `docs/simulators.md`.

    Returns:
        A module over [T, B, *shape].

    Raises:
        SnnirError: SNN503 if there is no training for the target, if torch is not there or an
            option is wrong; SNN501 listing what the chip cannot express.
    """
    from snnir.registry import lookup

    try:
        trainer = lookup("trainers", target, "SNN503")
    except ImportError as missing:
        hint = "pip install 'snnir[torch]'"
        raise error("SNN503", f"training needs torch ({missing})", hint=hint) from None
    return trainer(graph.verify(), **options)


def update(graph: Graph, net: Any) -> Graph:
    """Return a graph with the trained tensors of a network made from it by `to_torch`.

    Args:
        graph: What the network was made from.
        net: The network.

    Raises:
        SnnirError: SNN202 listing trained tensors that have no place in the graph, such as the
            decay factor of a continuous neuron: update `net.graph` then, the stepped graph.
    """
    from snnir.registry import lookup

    result: Graph = lookup("live", "update", "SNN503")(graph, net)
    return result


def to_jax(graph: Graph, **options: Any) -> Any:
    """Return a graph of continuous neurons as a JAX function of weights and spike times.

    The graph is run from event to event in float64, without steps, and its derivatives are exact
    (EventProp): by weights and by the times of input spikes, through any number of layers and
    recurrent connections. It works under `jit`, `grad` and `value_and_grad`.

        f = snnir.to_jax(graph, duration=0.05)
        def loss(params, times):
            return f.first_spikes(params, times)["output"].min(axis=1).mean()
        jax.grad(loss)(f.params, times)      # times: [B, channels] seconds, infinity for none
        trained = f.trained(params)          # a graph again

    Args:
        graph: The graph; what the target `events` takes.
        options: `duration`: seconds, must be given; `capacity=64`: slots for the spikes of an
            output in a sample; `clip`: largest |dt/dv| of a crossing in seconds per unit of v, no
            limit by default; `pulse="kick"|"held"` as of the target `events`;
            `max_events=1000000`: spikes in a sample after which a run is given up; `threads`: all
            processors by default.

    Returns:
        `f(params, x)` gives, by output, `time` [B, capacity] in seconds, infinity where there is
        no spike, and `index` [B, capacity]; more spikes than that are an error, or the capacity
        grows where JAX does not trace. `f.first_spikes(params, x)` gives, by output, the first
        spike of every neuron, [B, *shape]. `f.params` are the trainable tensors by path;
        `f.trained(params)` is the graph with others. See docs/eventprop.md.

    Raises:
        SnnirError: SNN501 listing what has no form in continuous time, SNN503 if JAX is not there
            or an option is wrong.
    """
    from snnir.registry import lookup

    try:
        function = lookup("live", "events", "SNN503")
    except ImportError as missing:
        hint = "pip install 'snnir[jax]'"
        raise error("SNN503", f"to_jax needs jax ({missing})", hint=hint) from None
    known = inspect.signature(function).parameters
    wrong = [name for name in options if name not in known or name == "graph"]
    if wrong or "duration" not in options:
        what = f"has no option '{wrong[0]}'" if wrong else "needs a duration in seconds"
        hint = f"its options: {', '.join(name for name in known if name != 'graph')}"
        raise error("SNN503", f"to_jax {what}", hint=hint)
    return function(graph.verify(), **options)


def compile(
    model: Graph | str | Path,
    target: str = "numpy",
    *,
    level: int = 1,
    passes: str | None = None,
    **options: Any,
) -> Compiled:
    """Compile a graph (or a file, with the defaults of `load`) for a target.

    Args:
        model: The graph.
        target: Name of the target; see `snnir list targets`.
        level: Optimisation level, 0 to 2.
        passes: Pipeline to run first instead of the level's.
        options: The target's own options.

    Returns:
        An object with `.run(x)` where the target runs in memory, and `.save(folder)`.

    Raises:
        SnnirError: Everything that does not fit the target, at once.
    """
    graph = model if isinstance(model, Graph) else load(model)
    return build_for(target_from(target, options), graph.verify(), passes, level)


def framework_neurons() -> list[dict[str, Any]]:
    """Return the neuron classes of the torch frameworks and whether `from_torch` reads them.

    Classes that are not read are known only where the framework is installed.

    Returns:
        One mapping per class: framework, class, supported.
    """
    from snnir.registry import lookup

    try:
        found: list[dict[str, Any]] = lookup("live", "neurons", "SNN101")()
    except ImportError as missing:
        hint = "install torch; the frameworks themselves are optional"
        raise error("SNN801", f"torch models cannot be read here ({missing})", hint=hint) from None
    return found


def losses(graph: Graph, target: str, **options: Any) -> LossReport:
    """Return what converting a graph for a target would keep of every node.

    Args:
        graph: The graph.
        target: Name of a target, such as `snntorch` or `nir`.
        options: The target's own options.
    """
    from snnir.pipeline import run_pipeline

    chosen = target_from(target, options)
    return losses_of(chosen, run_pipeline(graph.verify(), chosen.pipeline(0)).graph)


def check(graph: Graph, target: str = "numpy", **options: Any) -> list[Diagnostic]:
    """Return everything that would keep a graph from compiling for a target."""
    chosen = target_from(target, options)
    try:
        from snnir.pipeline import run_pipeline

        return misfits(chosen, run_pipeline(graph, chosen.pipeline(1)).graph)
    except SnnirError as failure:
        return list(failure.diagnostics)


def run(
    model: Graph | str | Path,
    x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    record: Sequence[str] = (),
    settings: Sequence[str] = (),
    lasting: Mapping[str, npt.ArrayLike] | None = None,
) -> Result:
    """Run a graph, a model file or an artefact folder on an input.

    Args:
        model: What to run.
        x: [T, B, *shape], or one such array per input name.
        record: Nodes to record, as `node` or `node:state`.
        settings: Options of the program of an artefact folder, as `KEY=VALUE`; `KEY=true` is a
            flag.
        lasting: What lasts of an earlier run (`Result.lasting`) instead of what the model has.

    Raises:
        SnnirError: If the model, the input, a record, a setting or what lasts does not fit.
    """
    if not isinstance(model, Graph):
        from snnir.artefact import is_artefact, open_artefact
        from snnir.folder_run import run_folder

        if is_artefact(Path(model)):
            began = time.perf_counter()
            result = run_folder(open_artefact(model), x, record, settings, lasting)
            tell("ran the program of %s, %.2f s", model, time.perf_counter() - began)
            return result
        model = load(model)
    if settings:
        raise error("SNN701", "settings are for the program of a folder; this is a model")
    built = compile(model, "numpy", level=0)
    began = time.perf_counter()
    result = built.run(x, record, lasting=lasting)
    tell("ran with NumPy, %.2f s", time.perf_counter() - began)
    return result
