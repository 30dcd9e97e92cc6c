"""What was asked for, and the checks of a network that need no look into its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    options = _options(network, given)
    problems = [*_layer_problems(network), *_edge_problems(network)]
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


def _options(network: Any, given: dict[str, Any]) -> Options:
    for name in list(given):
        if name in _FROM_OUTSIDE:
            if given.pop(name):
                raise error("SNN801", f"{name} is not read", hint=_FROM_OUTSIDE[name])
        elif name not in Options.__dataclass_fields__:
            known = ", ".join(Options.__dataclass_fields__)
            raise error("SNN801", f"from_bindsnet has no option '{name}'", hint=f"one of {known}")
    inputs = given.pop("inputs", ())
    inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    masks = given.pop("masks", None) or {}
    options = Options(inputs=inputs, masks=dict(masks), **given)
    problems = [*_input_problems(network, options), *_edge_option_problems(network, options)]
    if options.draws not in ("counter", "input"):
        problems.append(f"draws '{options.draws}' must be counter or input")
    seed = options.seed
    if not 0 <= seed < 1 << 64:
        problems.append(f"seed {seed} is not from 0 to 2**64 - 1")
    if problems:
        raise SnnirError(Diagnostic("SNN801", problem) for problem in problems)
    return options


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
    seen: dict[int, str] = {}
    for (source, target), connection in network.connections.items():
        name = edge_name((source, target))
        ends = (network.layers.get(source), network.layers.get(target))
        if ends != (connection.source, connection.target):
            message = "its source and target are not the layers of these names"
            found.append(Diagnostic("SNN802", message, node=name))
        try:
            _check_unchanged(connection, "compute", "update", "normalize")
        except Unsupported as failure:
            found.append(Diagnostic(failure.code, str(failure), node=name, hint=failure.hint))
        weight = getattr(connection, "w", None)
        if weight is not None and seen.setdefault(id(weight), name) != name:
            message = f"shares its weights with {seen[id(weight)]}"
            hint = "give every connection weights of its own"
            found.append(Diagnostic("SNN802", message, node=name, hint=hint))
    return found


def _check_unchanged(item: Any, *methods: str) -> None:
    """Refuse an object one of whose methods is its own: a copy of it would run the original."""
    for method in methods:
        if method in vars(item):
            raise Unsupported(f"its {method} was replaced", "take the replacement away")


def edge_name(edge: Sequence[str]) -> str:
    """Return BindsNET's own name of a connection."""
    return f"{edge[0]}_to_{edge[1]}"
