"""What was asked for, and the checks of a network that need no look into its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

from snnir.errors import Diagnostic, SnnirError, error
from snnir.frontends.bindsnet_nets.cells import draws_of, kind_of
from snnir.frontends.bindsnet_nets.values import Unsupported
from snnir.sides import is_bindsnet

Edge = tuple[str, str]

#: Arguments of `Network.run` that change a run from outside.
_FROM_OUTSIDE = {
    "clamp": "give spikes to an Input layer instead",
    "unclamp": "give a strong negative current to a layer named in `inputs` instead",
    "injects_v": "give a current to a layer named in `inputs` instead",
}


@dataclass(frozen=True)
class Options:
    """How a network is read; see `snnir.from_bindsnet`."""

    inputs: tuple[str, ...] = ()
    one_step: bool = False
    masks: Mapping[Edge, Any] = field(default_factory=dict)
    a_plus: Any = None
    a_minus: Any = None
    draws: str = "counter"
    seed: int = 0

    def rate(self, name: str, edge: Edge, default: float) -> Any:
        """Return `a_plus` or `a_minus` of a connection."""
        given = getattr(self, name)
        if isinstance(given, Mapping):
            given = given.get(edge)
        return default if given is None else given


@dataclass(frozen=True)
class Plan:
    """A network that may be read.

    Attributes:
        network: The network.
        options: How it is read.
        inputs: Layers that take a current from outside.
        notes: What the graph's provenance says of that.
    """

    network: Any
    options: Options
    inputs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def layers(self) -> dict[str, Any]:
        """The layers in the order of a step."""
        return dict(self.network.layers)

    @property
    def connections(self) -> dict[Edge, Any]:
        """The connections in the order in which they are added up."""
        return dict(self.network.connections)

    @property
    def spiking(self) -> list[str]:
        """Layers that are no `Input`."""
        return [name for name, layer in self.layers.items() if kind_of(layer) != "Input"]

    @property
    def drawing(self) -> dict[str, int]:
        """Layers that draw random numbers, with the seed of each."""
        found = [name for name, layer in self.layers.items() if draws_of(layer)]
        return {name: (self.options.seed + at) % (1 << 64) for at, name in enumerate(found)}

    @property
    def reward(self) -> str:
        """Name of the input of rewards."""
        return "reward" if "reward" not in self.layers else "network.reward"

    def is_delayed(self, edge: Edge) -> bool:
        """Whether a connection carries the spikes of the step before."""
        order = list(self.layers)
        return not self.options.one_step or order.index(edge[0]) >= order.index(edge[1])


def plan_of(network: Any, **given: Any) -> Plan:
    """Return a network with its options, checked.

    Raises:
        SnnirError: SNN801 for what is no network or an option that does not fit it, SNN802 for
            layers that cannot be read; everything at once.
    """
    if not is_bindsnet(network):
        what = type(network).__name__
        hint = "give a bindsnet.network.Network"
        raise error("SNN801", f"a {what} is not a network of BindsNET", hint=hint)
    try:
        options, problems = _checked(network, given)
    except (AttributeError, IndexError, TypeError, ValueError) as failure:
        what = f"the network does not look like BindsNET's: {type(failure).__name__}: {failure}"
        raise error("SNN801", what) from failure
    if problems:
        raise SnnirError(problems)
    edges = dict(network.connections)
    undriven = [
        name
        for name, layer in network.layers.items()
        if kind_of(layer) != "Input" and not any(target == name for _, target in edges)
    ]
    more = [name for name in undriven if name not in options.inputs]
    notes = (
        *(f"nothing leads to layer '{name}': it takes a current from outside" for name in more),
        *(["rewards are those that reward_fn returns"] if network.reward_fn is not None else []),
    )
    chosen = {*options.inputs, *more}
    inputs = tuple(name for name in network.layers if name in chosen)
    plan = Plan(network, options, inputs, notes)
    if not plan.spiking:
        raise error("SNN801", "the network has no layers but inputs")
    return plan


def _checked(network: Any, given: dict[str, Any]) -> tuple[Options, list[Diagnostic]]:
    """Return the options, and what is wrong with the network."""
    options = _options(network, given)
    float(network.dt)
    return options, [
        *_network_problems(network),
        *_layer_problems(network),
        *_edge_problems(network),
        *_shared_weights(network, options),
    ]


def _options(network: Any, given: dict[str, Any]) -> Options:
    for name in list(given):
        if name in _FROM_OUTSIDE:
            value = given.pop(name)
            if value is not None and not (isinstance(value, Mapping) and not value):
                raise error("SNN801", f"{name} is not read", hint=_FROM_OUTSIDE[name])
        elif name not in Options.__dataclass_fields__:
            known = ", ".join(Options.__dataclass_fields__)
            raise error("SNN801", f"from_bindsnet has no option '{name}'", hint=f"one of {known}")
    inputs = given.pop("inputs", ())
    if isinstance(inputs, Iterable):
        inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    masks = {} if (found := given.pop("masks", None)) is None else found
    options = Options(inputs=inputs, masks=masks, **given)
    problems = _type_problems(options)
    if problems:
        raise SnnirError(Diagnostic("SNN801", problem) for problem in problems)
    options = replace(options, masks=dict(masks), seed=int(options.seed))
    problems = [*_input_problems(network, options), *_edge_option_problems(network, options)]
    if options.draws not in ("counter", "input"):
        problems.append(f"draws '{options.draws}' must be counter or input")
    if not 0 <= options.seed < 1 << 64:
        problems.append(f"seed {options.seed} is not from 0 to 2**64 - 1")
    if problems:
        raise SnnirError(Diagnostic("SNN801", problem) for problem in problems)
    return options


def _type_problems(options: Options) -> list[str]:
    names: Any = options.inputs
    listed = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
    fits = {
        "inputs": (listed, "names of layers"),
        "one_step": (isinstance(options.one_step, bool), "True or False"),
        "masks": (isinstance(options.masks, Mapping), "{(source, target): mask}"),
        "seed": (isinstance(options.seed, Integral), "a whole number"),
    }
    return [
        f"{name} must be {wanted}, got {getattr(options, name)!r}"
        for name, (fit, wanted) in fits.items()
        if not fit
    ]


def _input_problems(network: Any, options: Options) -> list[str]:
    found = []
    for name in options.inputs:
        if name not in network.layers:
            listed = ", ".join(network.layers)
            found.append(f"inputs: there is no layer '{name}' among {listed}")
        elif type(network.layers[name]).__name__ == "Input":
            found.append(f"inputs: layer '{name}' is an Input, which takes spikes anyway")
        elif options.one_step and any(target == name for _, target in network.connections):
            found.append(
                f"inputs: with one_step BindsNET drops what is given to layer '{name}', since "
                "connections lead to it"
            )
    return found


def _edge_option_problems(network: Any, options: Options) -> list[str]:
    found = []
    listed = ", ".join(map(str, network.connections))
    for name in ("masks", "a_plus", "a_minus"):
        value = getattr(options, name)
        for edge in value if isinstance(value, Mapping) else ():
            if edge not in network.connections:
                found.append(f"{name}: there is no connection {edge!r} among {listed}")
        if name != "masks" and not isinstance(value, (Mapping, float, type(None))):
            found.append(f"{name} must be a float, or one for each connection, got {value!r}")
    return found


def _network_problems(network: Any) -> list[Diagnostic]:
    try:
        _check_unchanged(network, "run", "_get_inputs")
    except Unsupported as failure:
        return [Diagnostic("SNN801", f"the network: {failure}", hint=failure.hint)]
    return []


def _layer_problems(network: Any) -> list[Diagnostic]:
    found = []
    seen: dict[int, str] = {}
    targets = {target for _, target in network.connections}
    for name, layer in network.layers.items():
        try:
            kind = kind_of(layer)
            if layer.dt is None:
                hint = "add layers by network.add_layer"
                raise Unsupported("has no time step", hint)
            _check_unchanged(layer, "forward")
            _check_single(layer)
            if ":" in name:
                hint = "call it otherwise: the graph names states 'layer:state'"
                raise Unsupported("has ':' in its name", hint)
            if id(layer) in seen:
                raise Unsupported(f"is the same object as layer '{seen[id(layer)]}'")
            if kind == "Input" and name in targets:
                hint = "use McCullochPitts, which takes currents"
                raise Unsupported("is an Input to which connections lead", hint)
        except Unsupported as failure:
            found.append(Diagnostic(failure.code, str(failure), node=name, hint=failure.hint))
        seen[id(layer)] = name
    return found


def _edge_problems(network: Any) -> list[Diagnostic]:
    found = []
    names: set[str] = set()
    for (source, target), connection in network.connections.items():
        name = edge_name((source, target))
        if name in names:
            hint = "call a layer otherwise"
            message = "two connections have this name"
            found.append(Diagnostic("SNN802", message, node=name, hint=hint))
        names.add(name)
        ends = (network.layers.get(source), network.layers.get(target))
        if ends != (connection.source, connection.target):
            message = "its source and target are not the layers of these names"
            found.append(Diagnostic("SNN802", message, node=name))
        try:
            _check_unchanged(connection, "compute", "update", "normalize")
            _check_rule(getattr(connection, "update_rule", None))
        except Unsupported as failure:
            found.append(Diagnostic(failure.code, str(failure), node=name, hint=failure.hint))
    return found


def _shared_weights(network: Any, options: Options) -> list[Diagnostic]:
    """Find connections made of one tensor, which all change when one of them does."""
    found, changing = [], set()
    users: dict[int, list[str]] = {}
    for edge, connection in network.connections.items():
        memory = _memory_of(getattr(connection, "w", None))
        if memory is not None:
            users.setdefault(memory, []).append(edge_name(edge))
            if _changes(network, options, edge, connection):
                changing.add(memory)
    for memory in changing:
        first, *others = users[memory]
        for name in others:
            message = f"shares its weights with {first}, and they change"
            hint = "give every connection weights of its own, such as w.clone()"
            found.append(Diagnostic("SNN802", message, node=name, hint=hint))
    return found


def _memory_of(weight: Any) -> int | None:
    """Return where a tensor is kept; two of the same memory may be different objects."""
    if weight is None or getattr(weight, "is_sparse", False):
        return None if weight is None else id(weight)
    storage = getattr(weight, "untyped_storage", None)
    return None if storage is None else int(storage().data_ptr())


def _changes(network: Any, options: Options, edge: Edge, connection: Any) -> bool:
    """Whether a run may change the weights of a connection."""
    learns = type(getattr(connection, "update_rule", None)).__name__ != "NoOp"
    wanes = bool(getattr(connection, "weight_decay", None))
    changed = [getattr(connection, name, None) for name in ("norm", "Dales_rule", "mask")]
    always = edge in options.masks or any(part is not None for part in changed)
    return always or (bool(network.learning) and (learns or wanes))


def _check_rule(rule: Any) -> None:
    """Refuse a rule whose `update` is not a method of its own class."""
    update = vars(rule).get("update") if hasattr(rule, "__dict__") else None
    if update is None:
        return
    function = getattr(update, "__func__", None)
    own = getattr(type(rule), getattr(function, "__name__", ""), None)
    if function is None or own is not function or update.__self__ is not rule:
        raise Unsupported("its rule's update was replaced", "take the replacement away")


def _check_single(layer: Any) -> None:
    """Refuse states that are not float32, as torch.set_default_dtype or `.double()` makes them."""
    for name in ("v", "x", "theta", "i", "u"):
        if name == "v" and type(layer).__name__ == "McCullochPitts":
            continue  # it is the current of the step before
        kind = str(getattr(getattr(layer, name, None), "dtype", "torch.float32"))
        if kind != "torch.float32":
            hint = "make the network with torch's default type, torch.float32"
            raise Unsupported(f"computes with {kind}: its {name}", hint, "SNN807")


def _check_unchanged(item: Any, *methods: str) -> None:
    """Refuse an object one of whose methods is its own: a copy of it would run the original."""
    for method in methods:
        if method in vars(item):
            raise Unsupported(f"its {method} was replaced", "take the replacement away")


def edge_name(edge: Sequence[str]) -> str:
    """Return BindsNET's own name of a connection."""
    return f"{edge[0]}_to_{edge[1]}"
