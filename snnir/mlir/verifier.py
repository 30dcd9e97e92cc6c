"""What MLIR's verifier asks of every operation, beyond the dialect's definition in IRDL.

The verifiers run before MLIR has looked at the kinds of attributes, and must not fail themselves.
"""

from __future__ import annotations

from typing import Any

from snnir.errors import SnnirError
from snnir.ir.neuron import Step
from snnir.ir.op import OPS, Op, OpError
from snnir.mlir import tree
from snnir.mlir.attributes import WrongAttribute, op_of
from snnir.mlir.bindings import operations_of
from snnir.mlir.decode_program import program_of
from snnir.mlir.tree import Operation, Symbol
from snnir.streams import Signal


def verifiers(name: str) -> type | None:
    """Return the verifiers of an operation as MLIR takes them; None if IRDL says all."""
    word = tree.word_of(name)
    cls = OPS.get("step" if word == "lif" else word)
    if cls is not None:
        return _of_nodes(cls)
    return _Program if name == tree.PROGRAM else _Graph if name == tree.GRAPH else None


def _say(op: Any, message: str) -> bool:
    op.location.emit_error(f"'{op.operation.name}' {message}")
    return False


def _of_nodes(cls: type[Op]) -> type:
    class Verifier:
        @staticmethod
        def verify_invariants(op: Any) -> bool:
            try:
                problem = _problem(cls, op)
            except SnnirError as failure:
                problem = "; ".join(found.message for found in failure.diagnostics)
            except (OpError, WrongAttribute) as failure:
                problem = str(failure)
            return _say(op, problem) if problem else True

        @staticmethod
        def verify_region_invariants(op: Any) -> bool:
            return True

    return Verifier


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


def _problem(cls: type[Op], op: Any) -> str:
    """Return what is wrong with a node, or nothing."""
    (found,) = operations_of(op.operation, with_data=False)
    given = dict(found.attributes)
    if type(given.pop(tree.NODE, None)) is not str:
        return "needs attribute 'node', a text"
    given.pop(tree.METADATA, None)
    programs = {}
    if issubclass(cls, Step) and isinstance(given.get("dynamics"), Symbol):
        symbol = given["dynamics"]
        module = _program_module(op.operation.parent, symbol)
        if module is None:
            return "" if op.operation.parent is None else f"there is no program @{symbol}"
        programs[symbol] = program_of(module, None)
    node = op_of(cls, given, programs, {})
    reads = [kind for kind in found.operand_types if isinstance(kind, Signal)]
    wanted = node.operand_count
    if wanted is not None and wanted != len(reads):
        return f"has {len(reads)} operands, its op takes {wanted}"
    return _compare(found, node.infer(reads))


def _compare(found: Operation, inferred: tuple[Signal | None, ...]) -> str:
    if len(inferred) != len(found.types):
        return f"has {len(found.types)} results, its op gives {len(inferred)}"
    for stated, right in zip(found.types, inferred, strict=True):
        if right is not None and stated != right:
            return f"gives {tree.type_text(right)}, not {tree.type_text(stated)}"
    return ""


def _program_module(parent: Any, symbol: str) -> Operation | None:
    for region in parent.regions if parent is not None else ():
        for inner in region.blocks[0].operations:
            operation = inner.operation
            if operation.name == tree.MODULE and "sym_name" in operation.attributes:
                (found,) = operations_of(operation, with_data=False)
                if found.attributes["sym_name"] == symbol:
                    return found
    return None
