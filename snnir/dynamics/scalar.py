"""The scalar operations of the dynamics language: one table that every back end prints from."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.dynamics.batch import snn_batch_sum
from snnir.dynamics.fused import snn_fma


@dataclass(frozen=True)
class ScalarOp:
    """One operation on scalars; each rounds once, to the dtype of its operands.

    Attributes:
        name: The word in the text form.
        arity: Number of operands.
        numpy: Its meaning on NumPy arrays.
        python: Format of its NumPy source, such as ``{0} + {1}``.
        torch: Format of its torch source; empty where it is the same.
        c: Format of its C source with `{s}` for the suffix of the float type; empty where it is
            the same.
        triton: Format of its Triton source; empty where it is the same, `-` where there is none.
        mlir: Its operation in upstream MLIR on floats; empty where it takes several.
        mlir_whole: Its operation on integers; empty where there is none or it takes several.
        precedence: Binding strength of that source; 10 for calls.
        takes: Type of the operands, `float` or `bool`.
        gives: Type of the result.
        whole: It is defined on integers only; programs in floating point do not have it.
        across: It joins the samples of a batch; all others act on each element alone.
    """

    name: str
    arity: int
    numpy: Callable[..., Any]
    python: str
    precedence: int = 10
    takes: str = "float"
    gives: str = "float"
    torch: str = ""
    c: str = ""
    triton: str = ""
    mlir: str = ""
    mlir_whole: str = ""
    whole: bool = False
    across: bool = False

    @property
    def jax(self) -> str:
        """Format of its jax source: NumPy's functions under the name jnp."""
        return re.sub(r"\bnp\b", "jnp", self.python)


def _to_float(x: Any) -> Any:
    raise AssertionError("cast is evaluated by the interpreter, which knows the dtype")


def _select(condition: Any, yes: Any, no: Any) -> Any:
    return np.where(condition, yes, no)


def _fma(a: Any, b: Any, c: Any) -> Any:
    with np.errstate(all="ignore"):
        return snn_fma(a, b, c, np)


_TABLE = [
    ScalarOp("add", 2, np.add, "{0} + {1}", 5, mlir="arith.addf", mlir_whole="arith.addi"),
    ScalarOp("sub", 2, np.subtract, "{0} - {1}", 5, mlir="arith.subf", mlir_whole="arith.subi"),
    ScalarOp("mul", 2, np.multiply, "{0} * {1}", 6),
    ScalarOp("div", 2, np.divide, "{0} / {1}", 6, triton="tl.div_rn({0}, {1})", mlir="arith.divf"),
    ScalarOp(
        "pow",
        2,
        np.power,
        "np.power({0}, {1})",
        torch="torch.pow({0}, {1})",
        c="pow{s}({0}, {1})",
        triton="-",
    ),
    ScalarOp(
        "min",
        2,
        np.minimum,
        "np.minimum({0}, {1})",
        torch="torch.minimum({0}, {1})",
        c="snn_min{s}({0}, {1})",
        triton="minimum({0}, {1})",
        mlir="arith.minimumf",
        mlir_whole="arith.minsi",
    ),
    ScalarOp(
        "max",
        2,
        np.maximum,
        "np.maximum({0}, {1})",
        torch="torch.maximum({0}, {1})",
        c="snn_max{s}({0}, {1})",
        triton="maximum({0}, {1})",
        mlir="arith.maximumf",
        mlir_whole="arith.maxsi",
    ),
    ScalarOp("neg", 1, np.negative, "-{0}", 7),
    ScalarOp(
        "abs",
        1,
        np.abs,
        "np.abs({0})",
        torch="torch.abs({0})",
        c="fabs{s}({0})",
        triton="tl.abs({0})",
        mlir="math.absf",
        mlir_whole="math.absi",
    ),
    ScalarOp(
        "floor",
        1,
        np.floor,
        "np.floor({0})",
        torch="torch.floor({0})",
        c="floor{s}({0})",
        triton="tl.floor({0})",
        mlir="math.floor",
    ),
    ScalarOp(
        "trunc",
        1,
        np.trunc,
        "np.trunc({0})",
        torch="torch.trunc({0})",
        c="trunc{s}({0})",
        triton="trunc({0})",
    ),
    ScalarOp(
        "round",
        1,
        np.rint,
        "np.rint({0})",
        torch="torch.round({0})",
        c="rint{s}({0})",
        triton="rint({0})",
        mlir="math.roundeven",
    ),
    ScalarOp(
        "exp",
        1,
        np.exp,
        "np.exp({0})",
        torch="torch.exp({0})",
        c="exp{s}({0})",
        triton="tl.exp({0})",
        mlir="math.exp",
    ),
    ScalarOp(
        "log",
        1,
        np.log,
        "np.log({0})",
        torch="torch.log({0})",
        c="log{s}({0})",
        triton="tl.log({0})",
        mlir="math.log",
    ),
    ScalarOp(
        "tanh",
        1,
        np.tanh,
        "np.tanh({0})",
        torch="torch.tanh({0})",
        c="tanh{s}({0})",
        triton="tanh({0})",
    ),
    ScalarOp(
        "sqrt",
        1,
        np.sqrt,
        "np.sqrt({0})",
        # On CPU torch's own root of float32 is often one unit in the last place off.
        torch="torch.sqrt(({0}).to(torch.float64)).to(dtype)",
        c="sqrt{s}({0})",
        triton="tl.sqrt_rn({0})",
        mlir="math.sqrt",
    ),
    ScalarOp(
        "fma",
        3,
        _fma,
        "snn_fma({0}, {1}, {2}, np)",
        torch="snn_fma({0}, {1}, {2}, torch)",
        c="fma{s}({0}, {1}, {2})",
        triton="tl.fma({0}, {1}, {2})",
        mlir="math.fma",
    ),
    ScalarOp(
        "gt",
        2,
        np.greater,
        "{0} > {1}",
        4,
        gives="bool",
        mlir="arith.cmpf ogt,",
        mlir_whole="arith.cmpi sgt,",
    ),
    ScalarOp(
        "ge",
        2,
        np.greater_equal,
        "{0} >= {1}",
        4,
        gives="bool",
        mlir="arith.cmpf oge,",
        mlir_whole="arith.cmpi sge,",
    ),
    ScalarOp(
        "lt",
        2,
        np.less,
        "{0} < {1}",
        4,
        gives="bool",
        mlir="arith.cmpf olt,",
        mlir_whole="arith.cmpi slt,",
    ),
    ScalarOp(
        "le",
        2,
        np.less_equal,
        "{0} <= {1}",
        4,
        gives="bool",
        mlir="arith.cmpf ole,",
        mlir_whole="arith.cmpi sle,",
    ),
    ScalarOp(
        "eq",
        2,
        np.equal,
        "{0} == {1}",
        4,
        gives="bool",
        mlir="arith.cmpf oeq,",
        mlir_whole="arith.cmpi eq,",
    ),
    ScalarOp(
        "and",
        2,
        np.logical_and,
        "np.logical_and({0}, {1})",
        takes="bool",
        gives="bool",
        torch="torch.logical_and({0}, {1})",
        c="{0} && {1}",
        triton="{0} & {1}",
        mlir="arith.andi",
        mlir_whole="arith.andi",
    ),
    ScalarOp(
        "or",
        2,
        np.logical_or,
        "np.logical_or({0}, {1})",
        takes="bool",
        gives="bool",
        torch="torch.logical_or({0}, {1})",
        c="{0} || {1}",
        triton="{0} | {1}",
        mlir="arith.ori",
        mlir_whole="arith.ori",
    ),
    ScalarOp(
        "not",
        1,
        np.logical_not,
        "np.logical_not({0})",
        takes="bool",
        gives="bool",
        torch="torch.logical_not({0})",
        c="!{0}",
        triton="{0} == 0",
    ),
    ScalarOp(
        "cast",
        1,
        _to_float,
        "{0}.astype(dtype)",
        takes="bool",
        torch="{0}.to(dtype)",
        c="{0} ? 1 : 0",
        triton="{0}.to(tl.float32)",
    ),
    # Of programs of integers: a shift rounds down, `floordiv` too. Targets without integers run
    # the same program in float64, see `snnir.dynamics.whole`.
    ScalarOp(
        "shr", 2, np.right_shift, "np.right_shift({0}, {1})", whole=True, mlir_whole="arith.shrsi"
    ),
    ScalarOp(
        "floordiv",
        2,
        np.floor_divide,
        "np.floor_divide({0}, {1})",
        whole=True,
        mlir_whole="arith.floordivsi",
    ),
    ScalarOp(
        "select",
        3,
        _select,
        "np.where({0}, {1}, {2})",
        torch="torch.where({0}, {1}, {2})",
        c="{0} ? {1} : {2}",
        triton="tl.where({0}, {1}, {2})",
        mlir="arith.select",
        mlir_whole="arith.select",
    ),
    # The samples of a batch added up in their order, beginning with the first; see `State.lasting`.
    ScalarOp("batch_sum", 1, snn_batch_sum, "snn_batch_sum({0})", c="-", triton="-", across=True),
]

#: All scalar operations by name. `select` takes (bool, float, float).
SCALAR_OPS: dict[str, ScalarOp] = {op.name: op for op in _TABLE}
#: Those of programs in floating point.
FLOAT_OPS: dict[str, ScalarOp] = {op.name: op for op in _TABLE if not op.whole and not op.across}
#: Those of programs of integers.
WHOLE_OPS = frozenset(
    (
        *("add", "sub", "mul", "neg", "abs", "min", "max", "shr", "floordiv", "select", "cast"),
        *("gt", "ge", "lt", "le", "eq", "and", "or", "not"),
    )
)
