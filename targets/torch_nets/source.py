"""Printing a planned module: the class, its forward pass, and the command line below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnir.ir.graph import Value
from snnir.targets.torch_nets.names import comment, indented, literal
from snnir.targets.torch_nets.template import HEAD, HELPERS, MAIN

if TYPE_CHECKING:
    from snnir.targets.torch_nets.writer import Writer

WEIGHTS = "model.safetensors"


class ModuleSource:
    """Prints what a `Writer` has planned."""

    def __init__(self, plan: Writer) -> None:
        self.plan = plan

    def text(self) -> str:
        """Return the Python file."""
        framework = self.plan.framework
        axes = "B, T" if framework.batch_first else "T, B"
        head = HEAD.format(
            title=comment(self.plan.graph.name), framework=framework.title,
            version=framework.version, axes=axes, imports="\n".join(framework.imports),
            weights=WEIGHTS,
        )  # fmt: skip
        helpers = [text for name, text in HELPERS.items() if name in self.plan.helpers]
        classes = ["\n".join(lines) for _, lines in self.plan.classes.values()]
        parts = [head.rstrip(), *helpers, *classes, "\n".join(self._net()), self._main()]
        return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"

    def _net(self) -> list[str]:
        if self.plan.layerwise:
            return self._net_of_sequences()
        axis = 1 if self.plan.framework.batch_first else 0
        inputs = list(self.plan.graph.inputs)
        own = [self.plan.values[Value(name)] for name in inputs]
        arguments = ["x"] if len(inputs) == 1 else [f"{name}_all" for name in own]
        take = [
            f"{name} = {given}[:, t]" if axis else f"{name} = {given}[t]"
            for name, given in zip(own, arguments, strict=True)
        ]
        if len(inputs) > 1:
            self.plan.body.start.insert(0, f"x = {arguments[0]}")
        outputs = [self.plan.values[value] for value in self.plan.graph.outputs.values()]
        lines = [
            "class Net(nn.Module):",
            f'    """{comment(self.plan.graph.name)}: {self._ports()}."""',
            "",
            "    def __init__(self):",
            "        super().__init__()",
            *indented(self.plan.body.init, 2),
            "",
            f"    def forward(self, {', '.join(arguments)}):",
            *indented(self._reset(), 2),
            *indented(self._start(arguments[0], axis), 2),
            f"        outputs = [{', '.join('[]' for _ in outputs)}]",
            f"        for t in range({arguments[0]}.shape[{axis}]):",
            *indented([*take, *self.plan.body.step], 3),
            *indented([f"outputs[{i}].append({name})" for i, name in enumerate(outputs)], 3),
            *indented(self._shift(), 3),
            f"        return {self._stacked(len(outputs), axis)}",
        ]
        return lines

    def _net_of_sequences(self) -> list[str]:
        own = [self.plan.values[Value(name)] for name in self.plan.graph.inputs]
        arguments = ["x"] if len(own) == 1 else [f"{name}_all" for name in own]
        lines = [
            *self._reset(),
            f"lead = {arguments[0]}.shape[:2]",
            *(f"{n} = {a}.flatten(0, 1)" for n, a in zip(own, arguments, strict=True)),
            *self.plan.body.step,
        ]
        outputs = [
            f"{self.plan.values[v]}.unflatten(0, lead)" for v in self.plan.graph.outputs.values()
        ]
        mode = (
            ['functional.set_step_mode(self, "m")']
            if self.plan.framework.name == "spikingjelly"
            else []
        )
        return [
            "class Net(nn.Module):",
            f'    """{comment(self.plan.graph.name)}: {self._ports()}."""',
            "",
            "    def __init__(self):",
            "        super().__init__()",
            *indented([*self.plan.body.init, *mode], 2),
            "",
            f"    def forward(self, {', '.join(arguments)}):",
            *indented(lines, 2),
            f"        return {', '.join(outputs)}",
        ]

    def _start(self, first: str, axis: int) -> list[str]:
        used = any("batch" in line for line in self.plan.body.start)
        return [*([f"batch = {first}.shape[{1 - axis}]"] if used else []), *self.plan.body.start]

    def _reset(self) -> list[str]:
        """Every call starts at rest."""
        if self.plan.framework.name == "spikingjelly":
            return ["functional.reset_net(self)"]
        if self.plan.framework.name == "sinabs":
            owners = [self.plan.modules[name] for name in self.plan.layers]
            return [f"self.{own}.reset_states()" for own in owners]
        return []

    def _shift(self) -> list[str]:
        """All delays take in at once: one may read another."""
        if not self.plan.body.end:
            return []
        targets, values = zip(*self.plan.body.end, strict=True)
        return [f"{', '.join(targets)} = {', '.join(values)}"]

    def _stacked(self, count: int, axis: int) -> str:
        dim = ", 1" if axis else ""
        if count == 1:
            return f"torch.stack(outputs[0]{dim})"
        return f"tuple(torch.stack(steps{dim}) for steps in outputs)"

    def _ports(self) -> str:
        axes = "B, T" if self.plan.framework.batch_first else "T, B"

        def shape(name: str) -> str:
            extents = self.plan.graph.signal(name).shape
            return f"[{axes}{''.join(f', {n}' for n in extents)}]"

        inputs = ", ".join(shape(name) for name in self.plan.graph.inputs)
        outputs = ", ".join(shape(value.node) for value in self.plan.graph.outputs.values())
        return f"{inputs} to {outputs}"

    def _main(self) -> str:
        populations = {name: self.plan.modules[name] for name in self.plan.layers}
        return MAIN.format(
            inputs=literal({n: s.shape for n, s in self.plan.graph.inputs.items()}),
            outputs=literal(list(self.plan.graph.outputs)),
            nodes=literal(populations), batch_first=self.plan.framework.batch_first,
            layerwise=self.plan.layerwise,
        )  # fmt: skip
