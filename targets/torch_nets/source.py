"""Printing a planned module: the class, its forward pass, and the command line below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnir import folder_program
from snnir.embedding import module_body
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
        """Return the class, in either of its two forms."""
        init, forward = self._layer_by_layer() if self.plan.layerwise else self._step_by_step()
        return [
            "class Net(nn.Module):",
            f'    """{comment(self.plan.graph.name)}: {self._ports()}."""',
            "",
            "    def __init__(self):",
            "        super().__init__()",
            *indented([*self.plan.body.init, *init], 2),
            "",
            f"    def forward(self, {', '.join(self._arguments())}):",
            *indented([*self._reset(), *forward], 2),
        ]

    def _own_inputs(self) -> list[str]:
        return [self.plan.values[Value(name)] for name in self.plan.graph.inputs]

    def _arguments(self) -> list[str]:
        own = self._own_inputs()
        return ["x"] if len(own) == 1 else [f"{name}_all" for name in own]

    def _outputs(self) -> list[str]:
        return [self.plan.values[value] for value in self.plan.graph.outputs.values()]

    def _step_by_step(self) -> tuple[list[str], list[str]]:
        """Return further lines of `__init__` and those of `forward`: a loop over time."""
        axis = 1 if self.plan.framework.batch_first else 0
        arguments, outputs = self._arguments(), self._outputs()
        index = "[:, t]" if axis else "[t]"
        pairs = zip(self._own_inputs(), arguments, strict=True)
        take = [f"{name} = {given}{index}" for name, given in pairs]
        return [], [
            *self._start(arguments[0], axis),
            f"outputs = [{', '.join('[]' for _ in outputs)}]",
            f"for t in range({arguments[0]}.shape[{axis}]):",
            *indented([*take, *self.plan.body.step]),
            *indented([f"outputs[{i}].append({name})" for i, name in enumerate(outputs)]),
            *indented(self._shift()),
            f"return {self._stacked(len(outputs), axis)}",
        ]

    def _layer_by_layer(self) -> tuple[list[str], list[str]]:
        """Return the same for whole sequences, with time and batch as one axis in between."""
        jelly = self.plan.framework.name == "spikingjelly"
        arguments = self._arguments()
        pairs = zip(self._own_inputs(), arguments, strict=True)
        outputs = [f"{name}.unflatten(0, lead)" for name in self._outputs()]
        return ['functional.set_step_mode(self, "m")'] if jelly else [], [
            f"lead = {arguments[0]}.shape[:2]",
            *(f"{name} = {given}.flatten(0, 1)" for name, given in pairs),
            *self.plan.body.step,
            f"return {', '.join(outputs)}",
        ]

    def _start(self, first: str, axis: int) -> list[str]:
        """Return the lines before the loop; delay lines need the batch size and a tensor."""
        start = self.plan.body.start
        if not any("new_zeros(batch" in line for line in start):
            return start
        alias = [] if first == "x" else [f"x = {first}"]
        return [*alias, f"batch = x.shape[{1 - axis}]", *start]

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
        main = MAIN.format(
            inputs=literal({n: s.shape for n, s in self.plan.graph.inputs.items()}),
            outputs=literal(list(self.plan.graph.outputs)),
            nodes=literal(populations), batch_first=self.plan.framework.batch_first,
            layerwise=self.plan.layerwise,
        )  # fmt: skip
        return f"{module_body(folder_program)}\n\n{main}"
