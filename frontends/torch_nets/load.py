"""`snnir.from_torch`: from a live module to a graph."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch model is)

from snnir.errors import Diagnostic, SnnirError, error
from snnir.frontends.torch_nets.assemble import assemble
from snnir.frontends.torch_nets.calls import is_container, leaf
from snnir.frontends.torch_nets.cell import Cell, cell_maker
from snnir.frontends.torch_nets.events import Captured, Maker
from snnir.frontends.torch_nets.fold import NotPeriodic, fold
from snnir.frontends.torch_nets.layers import Unsupported
from snnir.frontends.torch_nets.neurons import (
    CalledAgain,
    StepOnly,
    framework_of,
    neuron_kind,
)
from snnir.frontends.torch_nets.recorder import Recorder, input_ref
from snnir.frontends.torch_nets.state import rest
from snnir.ir.graph import Graph
from snnir.untouched import untouched

#: Layouts of a model's input, by the word users give.
LAYOUTS = {"TB": "TB", "BT": "BT", "B*T": "M:BT", "T*B": "M:TB", "step": "B", "static": "B"}
_STEPS = (3, 5)
_LONGEST = 4096
#: A second recording goes over this many steps, if the neurons' outputs stay below the size.
_LONGER = 64
_CHEAP = 1_000_000


@dataclass(frozen=True)
class Request:
    """What the caller asked for."""

    net: Any
    shape: tuple[int, ...]
    example: Any
    batch: int


class NetRecorder(Recorder):
    """A recorder that also keeps what was read from each neuron."""

    def __init__(self, net: Any, batch: int, steps: int, static_loop: bool) -> None:
        paths = {id(m): name for name, m in net.named_modules()}
        if leaf(net) is not None:
            paths[id(net)] = type(net).__name__.lower()
        super().__init__(paths, leaf, batch, steps)
        self.static_loop = static_loop
        self.cells: dict[str, Cell] = {}
        self.outputs_too: dict[str, set[str]] = {}
        self.exposed: dict[str, list[str]] = {}

    def cell(self, path: str, read: Any) -> Cell:
        """Return what a neuron is, read once."""
        if path not in self.cells:
            self.cells[path] = read()
        return self.cells[path]

    def maker(self, path: str, cell: Cell) -> Maker:
        """Return the maker of a neuron; which states others read is known only at the end."""

        def make(builder: Any, name: str, values: Any) -> Any:
            return cell_maker(cell, self.exposed.get(path, []))(builder, name, values)

        return make


# --- Running -------------------------------------------------------------------------------------


def load_torch(
    net: Any, input_shape: Sequence[int] | None = None, **options: Any
) -> Graph:  # fmt: skip
    """Return the graph of a live module; see `snnir.from_torch`."""
    return capture(net, input_shape, **options).graph


def capture(
    net: Any,
    input_shape: Sequence[int] | None = None,
    *,
    example: Any = None,
    layout: str | None = None,
    dt: float | None = None,
    name: str | None = None,
) -> Captured:
    """Record a model and return its graph with what the run told."""
    _check_model(net)
    request = _request(net, input_shape, example)
    with untouched(net), torch.no_grad():
        failures: list[tuple[int, SnnirError]] = []
        for candidate in _candidates(net, layout):
            found = _attempt(request, candidate, failures, dt, name)
            if found is not None:
                return found
    # The attempt that came furthest knows best; of two, the one that snnir itself refused.
    best = max(failures, key=lambda item: (item[0], item[1].diagnostics[0].code != "SNN801"))[1]
    raise _pointing_on(best, net)


#: Refusals of what a model does between the layers that are known.
_ELSEWHERE = ("SNN802", "SNN803", "SNN805")


def _pointing_on(refusal: SnnirError, net: Any) -> SnnirError:
    """Return a refusal that says how neurons of the user's own are read, if the model has any."""
    own = [m for m in net.modules() if framework_of(m) is None and not is_container(m)]
    if all(type(module).__module__.startswith("torch.") for module in own):
        return refusal
    way = "a step in plain torch, with neurons of your own, is read by snnir.from_export"
    return SnnirError(
        replace(d, hint=f"{d.hint}; {way}" if d.hint else way) if d.code in _ELSEWHERE else d
        for d in refusal.diagnostics
    )


def _request(net: Any, input_shape: Sequence[int] | None, example: Any) -> Request:
    if not isinstance(net, torch.nn.Module):
        raise error("SNN801", f"from_torch takes a torch.nn.Module, got {type(net).__name__}")
    if input_shape is None and example is None:
        raise error("SNN801", "give input_shape=, the shape of one sample in one step")
    if input_shape is None:
        return _example_request(net, example)
    shape = tuple(int(n) for n in input_shape)
    if any(n < 1 for n in shape):
        raise error("SNN801", f"input_shape {list(shape)} has an empty axis")
    return Request(net, shape, None, _squeezed(net, "batch_size") or 2)


def _example_request(net: Any, example: Any) -> Request:
    """Return a request to record with an input of the caller's."""
    try:
        x = torch.as_tensor(example).detach().to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as failure:
        raise error("SNN801", f"example is not an array of numbers ({failure})") from None
    if x.ndim < 2 or 0 in x.shape or x.shape[0] < 3:
        message = f"example must be [T, B, ...] with at least 3 steps, got {list(x.shape)}"
        raise error("SNN801", message)
    return Request(net, tuple(x.shape[2:]), x, int(x.shape[1]))


def _squeezed(net: Any, name: str) -> int:
    """Return the batch size or number of steps that Sinabs' Squeeze layers were made for."""
    found = [getattr(m, name, 0) for m in net.modules() if framework_of(m) == "sinabs"]
    return next((int(n) for n in found if n and n > 0), 0)


def _check_model(net: Any) -> None:
    """Refuse what cannot be run or stated before anything runs."""
    if not isinstance(net, torch.nn.Module):
        return
    found: list[Diagnostic] = []
    for path, value in [*net.named_parameters(), *net.named_buffers()]:
        if value.device.type == "meta":
            found.append(Diagnostic("SNN807", "is on the device 'meta' and has no data", path))
        elif value.dtype in (torch.float16, torch.bfloat16) or (
            value.dtype == torch.float64 and value.numel() > 1
        ):
            dtype = str(value.dtype).removeprefix("torch.")
            hint = "convert the model with .float(), and check its accuracy"
            found.append(
                Diagnostic("SNN807", f"is {dtype}, graphs compute in float32", path, hint=hint)
            )
    found += _unsupported(net)
    if found:
        raise _pointing_on(SnnirError(found), net)


def _unsupported(net: Any) -> list[Diagnostic]:
    """Return the framework neurons that cannot be read, before their model runs."""
    found = []
    for path, module in net.named_modules():
        if is_container(module):
            continue
        try:
            neuron_kind(module)
        except Unsupported as refusal:
            found.append(Diagnostic(refusal.code, refusal.reason, path, hint=refusal.hint))
    return found


def _candidates(net: Any, layout: str | None) -> list[str]:
    """Return the layouts to try, most likely first."""
    if layout is not None:
        if layout not in LAYOUTS:
            raise error(
                "SNN801", f"there is no layout '{layout}'", hint=f"use {', '.join(LAYOUTS)}"
            )
        return [layout]
    names = [type(m).__name__ for m in net.modules() if framework_of(m) == "sinabs"]
    if any(name.endswith("Squeeze") for name in names):
        return ["B*T"]
    if names:
        return ["BT"]
    return ["TB", "BT", "step", "static", "T*B", "B*T"]


def _attempt(
    request: Request, layout: str, failures: list[tuple[int, SnnirError]], dt: float | None,
    name: str | None,
) -> Captured | None:  # fmt: skip
    """Try one layout, with more steps if three do not show a period; note why it fails."""
    fixed = _squeezed(request.net, "num_timesteps")
    steps = [fixed] if fixed else list(_STEPS)
    while steps:
        count = steps.pop(0)
        rec = NetRecorder(request.net, request.batch, count, layout == "static")
        try:
            found = _run(rec, request, layout, count, dt, name)
            return _run_longer(found, rec, request, layout, dt, name)
        except NotPeriodic as problem:
            failures.append((len(rec.events), _not_periodic(problem)))
        except (StepOnly, CalledAgain):
            failures.append((-1, error("SNN805", "the model's use of time was not recognised",
                                       hint="say it with layout=")))  # fmt: skip
            return None
        except IndexError as problem:
            # A loop over a constant number of steps wants a longer input.
            failures.append((len(rec.events), _raised(rec, problem)))
            if not steps and count < _LONGEST:
                steps = [count * 4]
        except SnnirError as problem:
            failures.append((len(rec.events), problem))
            if problem.diagnostics[0].code not in ("SNN803", "SNN805"):
                return None
        except Exception as problem:
            failures.append((len(rec.events), _raised(rec, problem)))
            return None
    return None


def _not_periodic(problem: NotPeriodic) -> SnnirError:
    where = problem.event.where if problem.event is not None else "?"
    return error(
        "SNN805", f"{where}: {problem.reason}",
        node=problem.event.path if problem.event is not None else None,
        hint="every step of a network must do the same",
    )  # fmt: skip


def _raised(rec: Recorder, problem: Exception) -> SnnirError:
    """Return the error for an exception of the model, with its line in the user's code."""
    frames = traceback.extract_tb(problem.__traceback__)
    skipped = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
    own = [f for f in frames if not f.filename.startswith(skipped)]
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}: " if own else ""
    text = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
    return error(
        "SNN801", f"{where}the model raised {type(problem).__name__}: {text}",
        node=_module_of(rec, problem) or None,
        hint="check input_shape and layout; the model must run on its own first",
    )  # fmt: skip


def _module_of(rec: Recorder, problem: Exception) -> str:
    """Return the path of the innermost module that was being called."""
    path, entry = "", problem.__traceback__
    while entry is not None:
        owner = entry.tb_frame.f_locals.get("self")
        if entry.tb_frame.f_code.co_name == "_call_impl":
            path = rec.paths.get(id(owner), path)
        entry = entry.tb_next
    return path


def _run(
    rec: NetRecorder, request: Request, layout: str, steps: int, dt: float | None, name: str | None
) -> Captured:
    rest(request.net)
    x = _sample(request, steps)
    outputs = _drive(rec, request, layout, x)
    folded = fold(rec.events, _length(rec, steps))
    return assemble(rec, folded, outputs, request, layout, x, dt, name)


def _run_longer(
    found: Captured, rec: NetRecorder, request: Request, layout: str, dt: float | None,
    name: str | None,
) -> Captured:  # fmt: skip
    """Record more steps, as many as are cheap: a model may do something else later on.

    Raises:
        SnnirError: SNN805 if it does.
    """
    size = sum(e.seen["out"][:1].numel() for e in rec.events if e.neuron and e.time == 1)
    steps = min(_LONGER, _CHEAP // max(1, size))
    own_length = layout == "static" or request.example is not None or not size
    if own_length or steps <= rec.longest_lag + 2:
        return found
    longer = NetRecorder(request.net, request.batch, steps, False)
    longer.longest_lag = rec.longest_lag
    try:
        again = _run(longer, request, layout, steps, dt, name)
    except NotPeriodic as problem:
        raise _not_periodic(problem) from None
    if again.graph != found.graph:
        raise error(
            "SNN805", f"the model does something else within {steps} steps than in the first few",
            hint="every step of a network must do the same",
        )  # fmt: skip
    return found


def _length(rec: Recorder, steps: int) -> int:
    """Return how many steps the model made; a loop of its own may make other than we gave."""
    times = [e.time for e in rec.events if e.time is not None]
    return max(times) + 1 if times else steps


def _sample(request: Request, steps: int) -> Any:
    """Return [T, B, *shape]: multiples of 1/8 between 0 and 1, the same every time."""
    if request.example is not None:
        return request.example
    generator = torch.Generator().manual_seed(7)
    shape = (steps, request.batch, *request.shape)
    return torch.randint(0, 9, shape, generator=generator).to(torch.float32) / 8


def _device(net: Any) -> Any:
    return next((p.device for p in [*net.parameters(), *net.buffers()]), torch.device("cpu"))


def _drive(rec: NetRecorder, request: Request, layout: str, x: Any) -> list[Any]:
    """Run the model in its layout; return what it returned, a list of one per call."""
    x = x.to(_device(request.net))
    lead = LAYOUTS[layout]
    steps, batch = x.shape[:2]
    if layout == "step":
        return _step_by_step(rec, request.net, x)
    if layout == "static":
        given, ref = x[0].clone(), input_ref("B")
    else:
        given = x if lead in ("TB", "M:TB") else x.transpose(0, 1)
        if lead.startswith("M:"):
            given = given.reshape(steps * batch, *x.shape[2:])
        given, ref = given.contiguous(), input_ref(lead)
    rec.mark(given, ref)
    with rec.recording():
        return [request.net(given)]


def _step_by_step(rec: NetRecorder, net: Any, x: Any) -> list[Any]:
    """Call the model once per step, handing on the state of models that return one."""
    outputs: list[Any] = []
    state: Any = None
    threads = threads_state(net)
    for time, now in enumerate(x):
        given = now.clone()
        rec.mark(given, input_ref("B", time))
        rec.current = time
        with rec.recording():
            out = net(given, state) if threads and time else net(given)
        if threads and isinstance(out, tuple) and len(out) == 2:
            state = out[1]
        outputs.append(out)
    return outputs


def threads_state(net: Any) -> bool:
    """Whether the model takes the state it returned as its second argument."""
    import inspect

    if getattr(net, "init_hidden", False):
        return False
    names = list(inspect.signature(net.forward).parameters)
    return len(names) > 1 and names[1] in ("state", "states", "hidden", "mem")


__all__ = ["LAYOUTS", "capture", "load_torch", "threads_state"]
