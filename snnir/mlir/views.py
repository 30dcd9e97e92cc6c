"""Python classes of the dialect's operations, made from the op registry.

MLIR's bindings give an operation as an instance of the class that is registered for its name. An
op has one class, `Conv2d` for `snn.conv2d`; where operations have numbers of operands and results
in their names, each name has a class derived from it. Classes are known to the whole process, as
the bindings have it, names to the contexts in which the dialect is registered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, ClassVar

from torch_mlir import ir, rewrite  # noqa: TID253  (this module is imported when MLIR is used)
from torch_mlir.dialects._ods_common import _cext  # noqa: TID253  (as MLIR's own dialects do)

from snnir.ir.op import OPS, Op
from snnir.mlir import tree
from snnir.mlir.dialect import make_op, read_node
from snnir.mlir.verifier import class_of
from snnir.suggest import did_you_mean
from snnir.tensors import FrozenDict


class _ManyNames:
    """Stands for the name that a class of several operations has not."""

    def __get__(self, instance: Any, owner: type) -> str:
        view = f"ops.{owner.__name__}"
        message = f"operations of {view} have several names, which {view}.names() lists"
        raise AttributeError(f"{message}; patterns of dialect.new_patterns() match all of them")


class Node(ir.OpView):
    """An operation of a node; the base of all classes.

    Each attribute of the op is a property of the class, unless MLIR's own classes use its name.
    Properties are read from the operation every time.

    Class attributes:
        op_class: The op's class.
    """

    OPERATION_NAME: ClassVar[Any] = _ManyNames()
    op_class: ClassVar[type[Op]]

    @property
    def op(self) -> Op:
        """The op with its attributes, weights included.

        Raises:
            SnnirError: SNN201 if the attributes do not fit.
        """
        return read_node(self).op

    @property
    def node(self) -> str:
        """Name of the node."""
        return read_node(self, with_data=False).name

    @property
    def metadata(self) -> FrozenDict[Any]:
        """The node's metadata."""
        return read_node(self, with_data=False).metadata

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the operations of this class."""
        return [name for name, view in _REGISTERED.items() if issubclass(view, cls)]

    @classmethod
    def create(
        cls, *operands: Any, node: str, metadata: Any = None, ip: Any = None, **attributes: Any
    ) -> Any:
        """Return a new operation of this class, its types those that the op infers.

        Args:
            operands: MLIR values.
            node: Name of the node.
            metadata: The node's metadata; none by default.
            ip: Where to insert it; where the context manager says by default.
            attributes: Attributes of the op, as its class takes them.

        Raises:
            SnnirError: SNN202 if the operands do not fit the op, SNN503 for steps that are not of
                the LIF family and for synapses that learn, whose programs are in other modules.
        """
        return make_op(cls.op_class(**attributes), operands, node, ip, metadata)


class PatternSet(rewrite.RewritePatternSet):
    """MLIR's `RewritePatternSet`, which also takes classes whose operations have several names."""

    def add(self, root: Any, fn: Callable[..., Any], benefit: int = 1) -> None:
        """Add a rewrite pattern for all operations of a class, or for a name."""
        is_ours = isinstance(root, type) and issubclass(root, Node)
        for name in root.names() if is_ours else [root]:
            super().add(name, fn, benefit)


class _Dialect:
    """What the bindings want to be told along with a class."""

    DIALECT_NAMESPACE = "snn"


#: The class of every name that some context knows.
_REGISTERED: dict[str, type[Node]] = {}

#: The class of every word and op.
_VIEWS: dict[tuple[str, type[Op]], type[Node]] = {}


def register_view(name: str) -> None:
    """Let the bindings give operations of this name as instances of their class."""
    op = class_of(name)
    if op is None:
        return
    view = _view(tree.word_of(name), op)
    known = _REGISTERED.get(name)
    if known is None or not issubclass(known, view):
        _REGISTERED[name] = _named(view, name) if tree.has_counts(op) else view
        _cext.register_operation(_Dialect, replace=True)(_REGISTERED[name])


def class_names() -> dict[str, str]:
    """Return the word of every class that there is, by the name of the class."""
    words = [word for op in OPS.values() for word in tree.words_of(op)]
    return {_camel_case(word): word for word in words}


def view_called(name: str) -> type[Node]:
    """Return a class by its name.

    Raises:
        AttributeError: If there is none.
    """
    names = class_names()
    if name == Node.__name__:
        return Node
    word = names.get(name)
    op = class_of(f"snn.{word}")
    if word is None or op is None:
        meant = did_you_mean(name, names)
        raise AttributeError(f"no op has the class '{name}'{f'; {meant}' if meant else ''}")
    return _view(word, op)


def _camel_case(word: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in word.split("_"))


def _view(word: str, op: type[Op]) -> type[Node]:
    """Return the class of all operations of a word, made when it is first asked for."""
    if (word, op) not in _VIEWS:
        _VIEWS[word, op] = _new_view(word, op)
    return _VIEWS[word, op]


def _new_view(word: str, op: type[Op]) -> type[Node]:
    base = Node if word == op.name else _view(op.name, op)  # a step of the LIF family is a step
    given: dict[str, Any] = {
        item.name: property(attrgetter(f"op.{item.name}"), doc=f"'{item.name}' of the op.")
        for item in fields(op)
        if not hasattr(base, item.name)
    }
    given["op_class"] = op
    given["__doc__"] = f"An operation `snn.{word}`, which is an op `{op.__name__}`."
    if not tree.has_counts(op):
        given["OPERATION_NAME"] = f"snn.{word}"
    return type(_camel_case(word), (base,), given)


def _named(view: type[Node], name: str) -> type[Node]:
    """Return a class of the operations of exactly this name."""
    suffix = name.removeprefix(f"snn.{tree.word_of(name)}")
    return type(f"{view.__name__}{suffix}", (view,), {"OPERATION_NAME": name})
