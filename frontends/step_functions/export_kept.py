"""State that a module keeps between calls in itself: buffers, attributes, and tensors in these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch step function is)
import torch.utils._pytree as pytree  # noqa: TID253

from snnir.errors import Diagnostic, SnnirError
from snnir.frontends.step_functions.paths import path_text

#: Dictionaries of a module that hold no state of the model.
_NOT_STATE = (
    "_parameters", "_modules", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks",
    "_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks",
)  # fmt: skip


_Place = tuple[int, str]


@dataclass(frozen=True, eq=False)
class Slot:
    """A place in a module that may hold state: a tensor, or a structure of tensors.

    Attributes:
        path: Of the module and the attribute, such as `lif.v`.
        holder: The dictionary that holds it.
        key: Its key there.
    """

    path: str
    holder: dict[str, Any]
    key: str

    @property
    def place(self) -> _Place:
        """What tells this slot from others."""
        return id(self.holder), self.key

    def get(self) -> Any:
        """Return what is there."""
        return self.holder.get(self.key)

    def put(self, value: Any) -> None:
        """Put a value there."""
        self.holder[self.key] = value


@dataclass(frozen=True, eq=False)
class Kept:
    """A slot that changes from call to call.

    Attributes:
        slot: Where.
        spec: Structure of what is there.
        leaves: Its tensors after a call, with the batch.
        names: Path of every tensor.
        first: What was there before the first call.
    """

    slot: Slot
    spec: Any
    leaves: tuple[torch.Tensor, ...]
    names: tuple[str, ...]
    first: Any

    def put(self, leaves: Sequence[Any]) -> None:
        """Put tensors there; they are copied, since a module may change them in place."""
        self.slot.put(pytree.tree_unflatten([leaf.clone() for leaf in leaves], self.spec))

    def read(self) -> list[Any]:
        """Return the tensors that are there."""
        leaves: list[Any] = pytree.tree_leaves(self.slot.get())
        return leaves

    def initial(self) -> list[torch.Tensor]:
        """Return the tensors before the first call, with the batch; 0 where there was nothing."""
        leaves, spec = pytree.tree_flatten(self.first)
        same = spec == self.spec
        return [
            _start(leaves[at] if same else None, leaf) for at, leaf in enumerate(self.leaves)
        ]  # fmt: skip


def _start(first: Any, like: torch.Tensor) -> torch.Tensor:
    if isinstance(first, torch.Tensor):
        try:
            return first.detach().clone().to(like.dtype).expand(like.shape)
        except RuntimeError:
            return torch.zeros_like(like)
    number = first if isinstance(first, (int, float)) else 0.0
    return torch.full_like(like, number)


def slots_of(module: torch.nn.Module) -> Iterator[Slot]:
    """Yield every place of a module and those in it that may hold state."""
    for path, inner in module.named_modules():
        start = f"{path}." if path else ""
        for key, value in list(vars(inner).items()):
            if key in _NOT_STATE or key == "training":
                continue
            if not isinstance(value, dict):
                yield Slot(start + key, vars(inner), key)
                continue
            # What a class keeps for its attributes, such as `_buffers`, has their names.
            within = start if key.startswith("_") else f"{start}{key}."
            yield from (Slot(f"{within}{k}", value, k) for k in list(value) if isinstance(k, str))


def _content(value: Any) -> Any:
    """Return a copy of what a slot holds, if that can be state; else None."""
    if isinstance(value, (bool, int, float)):
        return value
    if not isinstance(value, (torch.Tensor, tuple, list, dict)):
        return None
    leaves, spec = pytree.tree_flatten(value)
    if not leaves or not all(isinstance(leaf, torch.Tensor) for leaf in leaves):
        return None
    return tuple((leaf, leaf.detach().clone(), leaf._version) for leaf in leaves), spec


class Watch:
    """What a module holds, call by call: three looks tell what is state.

    Args:
        module: The module.
        called: Returns what the user calls a place.
    """

    def __init__(self, module: torch.nn.Module, called: Callable[[str], str]) -> None:
        self.module, self.called = module, called
        self.looks: list[dict[_Place, tuple[Slot, Any]]] = []
        self.raw: dict[_Place, Any] = {}

    def look(self) -> None:
        """Note what is there now."""
        found = {}
        for slot in slots_of(self.module):
            value = slot.get()
            content = _content(value)
            if not self.looks:
                self.raw[slot.place] = value.detach().clone() if _is_tensor(value) else value
            if content is not None:
                found[slot.place] = (slot, content)
        self.looks.append(found)

    def kept(self) -> list[Kept]:
        """Return the slots that changed between the last two looks.

        Raises:
            SnnirError: SNN805 for Python numbers that do.
        """
        before, after = self.looks[-2:]
        found, counters = [], []
        for place, (slot, content) in after.items():
            old = before.get(place, (slot, None))[1]
            if not isinstance(content, tuple):
                # What appears in the first call, such as a flag, is as it stays.
                if old != content:
                    counters.append(self.called(slot.path))
            elif isinstance(old, tuple) and old[1] == content[1] and _changed(old[0], content[0]):
                found.append(self._kept(slot, content))
        if counters:
            raise SnnirError(
                Diagnostic(
                    "SNN805", "is a Python number that changes from call to call", path,
                    hint="keep it as a tensor: a buffer, or part of the state",
                )
                for path in counters
            )  # fmt: skip
        return found

    def _kept(self, slot: Slot, content: Any) -> Kept:
        leaves, spec = content
        tensors = tuple(copy for _, copy, _ in leaves)
        keys, _ = pytree.tree_flatten_with_path(slot.get())
        path = self.called(slot.path)
        names = tuple(f"{path}.{path_text(key)}".rstrip(".") for key, _ in keys)
        return Kept(slot, spec, tensors, names, self.raw.get(slot.place))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _changed(old: Any, new: Any) -> bool:
    """Whether tensors were replaced or written to, perhaps with the values they had."""
    pairs = list(zip(old, new, strict=True))
    if any(one[1].shape != two[1].shape for one, two in pairs):
        return False
    return any(one[0] is not two[0] or one[2] != two[2] for one, two in pairs)
