"""What MLIR's verifier asks of every operation, beyond the dialect's definition in IRDL.

The verifiers run before MLIR has looked at the kinds of attributes, and must not fail themselves.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from snnir.dynamics.program import Dynamics
from snnir.errors import SnnirError
from snnir.ir.graph import Node
from snnir.ir.op import OPS, Op, OpError
from snnir.mlir import tree
from snnir.mlir.attributes import WrongAttribute, op_of, wanted
from snnir.mlir.bindings import bindings, operations_of
from snnir.mlir.decode import metadata_of
from snnir.mlir.decode_program import program_of
from snnir.mlir.reader import read_operations
from snnir.mlir.tree import Operation, Symbol
from snnir.streams import Signal


def verifiers(name: str) -> type | None:
    """Return the verifiers of an operation as MLIR takes them; None if IRDL says all."""
    if class_of(name) is not None:
        return _Node
    return _Program if name == tree.PROGRAM else _Graph if name == tree.GRAPH else None


def _say(op: Any, message: str) -> bool:
    op.location.emit_error(f"'{op.operation.name}' {message}")
    return False


class _Node:
    @staticmethod
    def verify_invariants(op: Any) -> bool:
        try:
            problem = _problem(op)
        except SnnirError as failure:
            problem = "; ".join(found.message for found in failure.diagnostics)
        except (OpError, WrongAttribute) as failure:
            problem = str(failure)
        return _say(op, problem) if problem else True

    @staticmethod
    def verify_region_invariants(op: Any) -> bool:
        return True


class _Graph:
    @staticmethod
    def verify_invariants(op: Any) -> bool:
        (found,) = operations_of(op.operation, with_data=False)
        version = found.attributes.get("version")
        return version == tree.VERSION or _say(op, f"has version {version}, not {tree.VERSION}")

    @staticmethod
    def verify_region_invariants(op: Any) -> bool:
        return True


class _Program:
    """Checks the whole program, once, at its header."""

    @staticmethod
    def verify_invariants(op: Any) -> bool:
        module = op.operation.parent
        if module is None:
            return True
        try:
            program_of(operations_of(module, with_data=False)[0], None)
        except SnnirError as failure:
            return _say(op, "; ".join(found.message for found in failure.diagnostics))
        return True

    @staticmethod
    def verify_region_invariants(op: Any) -> bool:
        return True


def class_of(name: str) -> type[Op] | None:
    """Return the class of the op that an operation of this name is."""
    word = tree.word_of(name)
    return OPS.get("step" if word == "lif" else word)


def node_of(operation: Any, with_data: bool = True) -> tuple[Operation, Node]:
    """Return a node's MLIR operation as it is read, and the node, which has no operands.

    Raises:
        WrongAttribute: If its attributes do not fit.
        SnnirError: If its program is not well formed.
    """
    cls = class_of(operation.name)
    if cls is None:
        raise WrongAttribute("is not a node")
    (found,) = operations_of(operation, with_data)
    given = dict(found.attributes)
    name = wanted(given, tree.NODE, str)
    metadata = metadata_of(given.pop(tree.METADATA, ()))
    del given[tree.NODE]
    programs: dict[str, Dynamics] = {}
    for symbol in [value for value in given.values() if isinstance(value, Symbol)]:
        text = _program_text(operation.parent, symbol)
        if text is not None:
            programs[symbol] = _program(text)
    return found, Node(name, op_of(cls, given, programs, {}), (), metadata)


def _problem(op: Any) -> str:
    """Return what is wrong with a node, or nothing."""
    if op.operation.parent is None:
        return ""  # nobody has put it anywhere yet; what it refers to is not known
    found, node = node_of(op.operation, with_data=False)
    reads = [kind for kind in found.operand_types if isinstance(kind, Signal)]
    takes = node.op.operand_count
    if takes is not None and takes != len(reads):
        return f"has {len(reads)} operands, its op takes {takes}"
    return _compare(found, node.op.infer(reads))


def _compare(found: Operation, inferred: tuple[Signal | None, ...]) -> str:
    if len(inferred) != len(found.types):
        return f"has {len(found.types)} results, its op gives {len(inferred)}"
    for stated, right in zip(found.types, inferred, strict=True):
        if right is not None and stated != right:
            return f"gives {tree.type_text(right)}, not {tree.type_text(stated)}"
    return ""


def _program_text(parent: Any, symbol: str) -> str | None:
    """Return the text of the module that has a step program."""
    if parent is None or parent.name != tree.MODULE:
        return None
    try:
        module = bindings().SymbolTable(parent)[symbol]
    except KeyError:
        return None
    # Printing would verify the whole module first, and so come back here.
    return str(module.operation.get_asm(assume_verified=True))


@lru_cache(maxsize=1024)
def _program(text: str) -> Dynamics:
    return program_of(read_operations(text)[0], None)
