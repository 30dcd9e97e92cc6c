"""What becomes of a network's spikes on the way from one framework to another through NIR.

    python x.py bench peer_routes [FILE.json]

SpikingJelly has to be installed as well: `pip install loguru tqdm requests scipy` and
`pip install --no-deps spikingjelly==2.0.0`.

For the networks of `tests/frameworks/pair_nets.py` and every ordered pair of frameworks: the
source's own export to NIR, the target's own import, 200 steps of 8 samples in both, and the number
of output elements that differ. Everything a patient user could try is tried: the module as it was
written, the same network rewritten in the form that the exporter wants, vectors instead of scalar
parameters, the graph as it is in memory or through a file, and the step length of the source told
to a target that asks for it. No node of a graph is mended on the way.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # to find the networks

from benchmarks._shown import shown
from tests.frameworks.pair_nets import FRAMEWORKS, KINDS, PairNet, nets

STEPS, BATCH = 200, 8
STAGES = ("export", "file", "import", "run")
MEDIA = ("memory", "file", "file, types unchecked", "file, types inferred first")
WRONG_SHAPE = "output of shape"
NAMES = {
    "snntorch": "snnTorch", "sinabs": "Sinabs", "spikingjelly": "SpikingJelly", "norse": "Norse",
}  # fmt: skip

#: Shapes of the two populations of each network.
POPULATIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "dense": ((24,), (10,)),
    "conv": ((4, 6, 6), (10,)),
    "recurrent": ((20,), (10,)),
}


@dataclass(frozen=True)
class Form:
    """A way to hand a network to its framework's exporter.

    Attributes:
        label: Says what was done to the module, for the reader of the results.
        module: What the exporter gets; computes the same as the network.
        sample: Shape of the sample that the exporter gets.
        dt: Length of a step in the exported graph, in the unit of its time constants.
        options: Further arguments of the exporter.
        written: Whether the module is the user's, with its loop over time.
    """

    label: str
    module: nn.Module
    sample: tuple[int, ...]
    dt: float
    options: dict[str, Any] = field(default_factory=dict)
    written: bool = False


# --- Sources --------------------------------------------------------------------------------------


def forms(framework: str, kind: str) -> list[Form]:
    """Return the forms, the most natural first; modules are new at every call."""
    makers: dict[str, Callable[[str, PairNet], list[Form]]] = {
        "snntorch": snntorch_forms,
        "sinabs": sinabs_forms,
        "spikingjelly": spikingjelly_forms,
        "norse": norse_forms,
    }
    return makers[framework](kind, nets(framework)[kind])


def snntorch_forms(kind: str, net: PairNet) -> list[Form]:
    """One step at a time in a Sequential, as in snnTorch's own NIR example."""
    shape = net.input_shape
    ignore = {"ignore_dims": [0]}
    scalars, vectors = (snntorch_step(kind, net.module, vectors=v) for v in (False, True))
    found = [
        Form("as written", net.module, (2, 1, *shape), 1e-4, written=True),
        Form("one step", scalars, (1, *shape), 1e-4),
        Form("one step, ignore_dims", scalars, (1, *shape), 1e-4, ignore),
        Form("one step, ignore_dims, vectors", vectors, (1, *shape), 1e-4, ignore),
    ]
    return found + [spelled(form) for form in found[-1:] if kind == "conv"]


def spelled(form: Form) -> Form:
    """Write the same layers as importers understand them best.

    Some want the size of a pool as a sequence, and some take an axis of a `Flatten`, which NIR
    counts without the batch, for one that counts it; from the end both are the same.
    """
    layers = [
        type(layer)((2, 2), (2, 2), (0, 0)) if isinstance(layer, nn.AvgPool2d)
        else nn.Flatten(-3) if isinstance(layer, nn.Flatten)
        else layer
        for layer in form.module.children()
    ]  # fmt: skip
    label = f"{form.label}, pool of (2, 2), flatten from -3"
    return replace(form, label=label, module=nn.Sequential(*layers))


def snntorch_step(kind: str, module: Any, vectors: bool) -> nn.Module:
    """Rewrite the network as a Sequential whose neurons keep their state."""
    import snntorch as snn

    layers: list[Any] = list(module.net) if kind == "conv" else list(module.children())
    neurons = [layer for layer in layers if isinstance(layer, snn.Leaky | snn.RLeaky)]
    parameters = dict(zip(neurons, POPULATIONS[kind], strict=True))
    rewritten = []
    for layer in layers:
        if layer not in parameters:
            rewritten.append(layer)
            continue
        like = torch.ones(parameters[layer]) if vectors else torch.tensor(1.0)
        options = {"init_hidden": True, "output": layer is neurons[-1]}
        options |= {"beta": layer.beta * like, "threshold": layer.threshold * like}
        if isinstance(layer, snn.RLeaky):
            again = snn.RLeaky(linear_features=20, **options)
            again.recurrent = layer.recurrent
        else:
            again = snn.Leaky(**options)
        rewritten.append(again)
    return nn.Sequential(*rewritten)


def sinabs_forms(kind: str, net: PairNet) -> list[Form]:
    """Squeeze layers, which have batch and time in one axis; there is no recurrent one."""
    shape = net.input_shape
    found = [Form("as written", net.module, (1, 2, *shape), 1.0, written=True)]
    if kind != "recurrent":
        for label, vectors in (("squeezed", False), ("squeezed, vectors", True)):
            module = sinabs_squeezed(kind, net.module, vectors)
            found.append(Form(label, module, (2, *shape), 1.0))
    return found + [spelled(form) for form in found[-1:] if kind == "conv"]


def sinabs_squeezed(kind: str, module: Any, vectors: bool) -> nn.Module:
    """Rewrite the network for input [B * T, ...] with B = 1."""
    import sinabs.layers as sl

    shapes = iter(POPULATIONS[kind])
    rewritten: list[nn.Module] = []
    for layer in module:
        if isinstance(layer, sl.LIF):  # IAF is a subclass
            like = torch.ones(next(shapes)) if vectors else torch.tensor(1.0)
            options = {"batch_size": 1, "spike_threshold": layer.spike_threshold * like}
            if isinstance(layer, sl.IAF):
                rewritten.append(sl.IAFSqueeze(**options))
            else:
                rewritten.append(sl.LIFSqueeze(tau_mem=layer.tau_mem.detach() * like, **options))
        elif isinstance(layer, nn.Flatten):
            rewritten.append(nn.Flatten(1))
        else:
            rewritten.append(layer.module if isinstance(layer, sl.Repeat) else layer)
    return nn.Sequential(*rewritten)


def spikingjelly_forms(kind: str, net: PairNet) -> list[Form]:
    """Multi-step as written, single-step, and a time step of 1 as Sinabs counts time."""
    from spikingjelly.activation_based import functional

    shape = net.input_shape
    found = [Form("as written", net.module, (2, 1, *shape), 1e-4, written=True)]
    if kind == "recurrent":
        step, label = spikingjelly_container(net.module), "LinearRecurrentContainer"
    else:
        step, label = nets("spikingjelly")[kind].module, "single step"
        functional.set_step_mode(step, "s")
    found.append(Form(label, step, (1, *shape), 1e-4))
    found.append(Form(f"{label}, dt=1", step, (1, *shape), 1.0, {"dt": 1.0}))
    return found + [spelled(form) for form in found[1:] if kind == "conv"]


def spikingjelly_container(module: Any) -> nn.Module:
    """Rewrite the loop with SpikingJelly's container: one linear layer for [input, feedback]."""
    from spikingjelly.activation_based import layer

    container = layer.LinearRecurrentContainer(module.lif1, 20, 20)
    with torch.no_grad():
        container.rc.weight.copy_(torch.cat([torch.eye(20), module.rec.weight], 1))
        container.rc.bias.copy_(module.rec.bias)
    return nn.Sequential(module.fc1, container, module.fc2, module.lif2)


def norse_forms(kind: str, net: PairNet) -> list[Form]:
    """One step of cells; without a batch axis, which Norse's exporter takes for a feature axis.

    The exporter multiplies time constants by `dt` although they are in seconds, so dt=1 exports
    what was meant.
    """
    shape = net.input_shape
    scalars, vectors = (norse_step(kind, net.module, v) for v in (False, True))
    return [
        Form("as written", net.module, (2, 1, *shape), 1e-3, written=True),
        Form("one step", scalars, (1, *shape), 1e-3),
        Form("one step, no batch axis", scalars, shape, 1e-3),
        Form("one step, no batch axis, vectors", vectors, shape, 1e-3),
        Form("one step, no batch axis, vectors, dt=1", vectors, shape, 1e-3, {"dt": 1.0}),
    ]


def norse_step(kind: str, module: Any, vectors: bool) -> nn.Module:
    """Rewrite the network as a SequentialState of cells."""
    import norse.torch as norse

    layers = list(module.children()) if kind == "conv" else list(module.lifted_module)
    shapes = iter(POPULATIONS[kind])
    rewritten: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, norse.LIF | norse.LIFCell | norse.LIFBoxCell):
            cell = norse.LIFBoxCell if isinstance(layer, norse.LIFBoxCell) else norse.LIFCell
            like = torch.ones(next(shapes)) if vectors else torch.tensor(1.0)
            rewritten.append(cell(norse_parameters(layer.p, like)))
        elif isinstance(layer, norse.LIFRecurrentCell):
            next(shapes)  # has no vector form: it makes its own initial state of a scalar
            rewritten.append(layer)
        elif isinstance(layer, nn.Flatten):
            rewritten.append(nn.Flatten(-3))
        else:
            rewritten.append(layer.lifted_module if isinstance(layer, norse.Lift) else layer)
    return norse.SequentialState(*rewritten)


def norse_parameters(parameters: Any, like: Any) -> Any:
    """Return parameters in the shape of `like`, apart from those of the surrogate gradient."""
    names = [name for name in parameters._fields if name.startswith(("tau_", "v_"))]
    return parameters._replace(**{name: getattr(parameters, name) * like for name in names})


def export(framework: str, form: Form) -> nir.NIRGraph:
    """Call the framework's own exporter."""
    sample = torch.zeros(form.sample)
    if framework == "snntorch":
        from snntorch.export_nir import export_to_nir as snntorch_export

        return snntorch_export(form.module, sample, **form.options)
    if framework == "sinabs":
        from sinabs.nir import to_nir

        return to_nir(form.module, sample)
    if framework == "spikingjelly":
        from spikingjelly.activation_based.nir_exchange import export_to_nir

        return export_to_nir(form.module, sample, **form.options)
    from norse.torch.utils.export_nir import to_nir as norse_export

    return norse_export(form.module, sample, **form.options)


def played(framework: str, form: Form, x: Any) -> Any:
    """Run a rewritten form on one sample [T, 1, ...], to see that it is the same network."""
    if framework == "sinabs":
        return form.module(x[:, 0])[:, None]
    if framework == "norse":
        return stepped(form.module, x)
    out = [form.module(frame) for frame in x]
    return torch.stack([frame[0] if isinstance(frame, tuple) else frame for frame in out])


def check_forms(framework: str, kind: str) -> None:
    """Stop if a rewritten form does not spike as the network does."""
    net = nets(framework)[kind]
    x = net.inputs(STEPS, 1)
    expected = net.run(x)
    for index, form in enumerate(forms(framework, kind)):
        if form.written:
            continue
        fresh = forms(framework, kind)[index]  # forms share layers, and layers keep state
        with torch.no_grad():
            out = played(framework, fresh, torch.from_numpy(x)).numpy()
        if not np.array_equal(out, expected):
            raise AssertionError(f"{framework} {kind}: {form.label} is another network")


# --- Targets --------------------------------------------------------------------------------------


def load(framework: str, graph: nir.NIRGraph, dt: float | None) -> nn.Module:
    """Call the framework's own importer; `dt` where it has one and the user knows it."""
    options = {} if dt is None else {"dt": dt}
    if framework == "snntorch":
        from snntorch.import_nir import import_from_nir as snntorch_import

        return snntorch_import(graph)
    if framework == "sinabs":
        from sinabs.nir import from_nir

        return from_nir(graph, batch_size=BATCH)
    if framework == "spikingjelly":
        from spikingjelly.activation_based.nir_exchange import import_from_nir

        return import_from_nir(graph, **options)
    from norse.torch.utils.import_nir import from_nir as norse_import

    return norse_import(graph, **options)


def stepped(module: nn.Module, x: Any) -> Any:
    """Run step by step; all four importers return modules with this signature.

    Sinabs' layers would take all steps at once, but feedback needs single ones, and the spikes
    are the same.
    """
    state = None
    spikes = []
    for frame in x:
        out, state = module(frame, state)
        spikes.append(out)
    return torch.stack(spikes)


def time_steps(target: str, form: Form) -> list[float | None]:
    """Return the values of `dt` to try: the default, and that of the source where it differs."""
    default = {"spikingjelly": 1e-4, "norse": 1e-3}.get(target)
    return [None] if default is None or form.dt == default else [None, form.dt]


# --- Measuring ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """One route from a source to a target.

    Attributes:
        form: Label of the form that was exported.
        medium: How the graph travelled.
        dt: What the importer was told; nothing for its default.
        xor: Number of output elements that differ, if it ran.
        spiking: Number of output elements that are not zero, if it ran.
        error: Stage, exception and message, if it did not.
    """

    form: str
    medium: str
    dt: float | None
    xor: int | None = None
    spiking: int | None = None
    error: str | None = None

    @property
    def reach(self) -> tuple[int, bool]:
        """How far a failure came; an exception says more than an output of the wrong shape."""
        stage, _, reason = (self.error or "").partition(":")
        return ("", *STAGES).index(stage), WRONG_SHAPE not in reason


class StageError(Exception):
    """A framework's exception, with the stage it came from."""


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Turn any exception into one line: frameworks raise everything from KeyError to assert."""
    try:
        yield
    except StageError as error:
        raise StageError(f"{name}: {error}") from error
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise StageError(f"{name}: {type(error).__name__}: {first}") from error


def travel(graph: nir.NIRGraph, medium: str) -> nir.NIRGraph:
    """Return the graph itself or read back from a file."""
    if medium == "memory":
        return graph
    if medium == "file, types inferred first":
        graph.infer_types()  # fills in the input shapes that some exporters leave out
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "model.nir")
        nir.write(path, graph)
        return nir.read(path, type_check="unchecked" not in medium)


def attempt(pair: tuple[str, str], form: Form, medium: str, dt: float | None, data: Any) -> Attempt:
    """Go one route; `data` is (input, spikes of the source)."""
    source, target = pair
    x, expected = data
    label = (form.label, medium, dt)
    try:
        with torch.no_grad():
            with stage("export"):
                graph = export(source, form)
            with stage("file"):
                graph = travel(graph, medium)
            with stage("import"):
                module = load(target, graph, dt)
            with stage("run"):
                out = stepped(module, torch.from_numpy(x)).detach().numpy()
                if out.shape != expected.shape:
                    raise StageError(f"{WRONG_SHAPE} {out.shape}, not {expected.shape}")
    except StageError as error:
        return Attempt(*label, error=str(error))
    return Attempt(*label, xor=int((out != expected).sum()), spiking=int((out != 0).sum()))


def routes(source: str, target: str, kind: str) -> dict[str, Any]:
    """Try every route of a pair and network."""
    net = nets(source)[kind]
    x = net.inputs(STEPS, BATCH)
    data = x, net.run(x)
    found = []
    for index, form in enumerate(forms(source, kind)):
        for medium in MEDIA:
            for dt in time_steps(target, form):
                fresh = forms(source, kind)[index]  # exporters and importers change what they get
                found.append(attempt((source, target), fresh, medium, dt, data))
    ran = [a for a in found if a.xor is not None]
    return {
        "source": source, "target": target, "net": kind,
        "spiking": int((data[1] > 0).sum()), "elements": data[1].size,
        "first": vars(ran[0]) if ran else None,
        "best": vars(min(ran, key=lambda a: (a.xor or 0, a.spiking == 0))) if ran else None,
        "failure": None if ran else vars(max(reversed(found), key=lambda a: a.reach)),
        "attempts": [vars(a) for a in found],
    }  # fmt: skip


def cell(result: dict[str, Any]) -> str:
    """Return what the table says: the first route that ran, the best one, or why none did."""
    if result["failure"]:
        return str(result["failure"]["error"])[:60].replace("|", "\\|")
    first, best = count(result["first"]), count(result["best"])
    return first if first == best else f"{first}, best {best}"


def count(attempt: dict[str, Any]) -> str:
    """Return the differences; a silent target would otherwise look better than a wrong one."""
    return f"{attempt['xor']:,}" + ("" if attempt["spiking"] else " (silent)")


def table(results: list[dict[str, Any]]) -> str:
    """Return the Markdown table."""
    cells = {(r["source"], r["target"], r["net"]): cell(r) for r in results}
    lines = ["| source | target | " + " | ".join(KINDS) + " |", "|" + " --- |" * (2 + len(KINDS))]
    for source in FRAMEWORKS:
        for target in FRAMEWORKS:
            row = [NAMES[source], NAMES[target], *(cells[source, target, k] for k in KINDS)]
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back what the frameworks print, warn and log."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def main() -> None:
    """Measure, write the JSON file if one is named, and print the table."""
    torch.set_num_threads(1)
    results = []
    with quiet():
        for source in shown(FRAMEWORKS):
            for kind in KINDS:
                check_forms(source, kind)
                results += [routes(source, target, kind) for target in FRAMEWORKS]
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(results, indent=1) + "\n")
    print(f"Output elements that differ, of {STEPS * BATCH * 10:,}; in the source these spike:")
    for result in results:
        if result["target"] == result["source"]:
            print(f"  {NAMES[result['source']]} {result['net']}: {result['spiking']:,}")
    print()
    print(table(results))


if __name__ == "__main__":
    main()
