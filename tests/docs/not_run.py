"""What is not run of the documentation, and why: the one place where exceptions are counted.

A block with `<!-- not run: REASON -->` before it is counted here under its reason. Its scripts must
exist and know the options it gives them; its Python must compile.
"""

from __future__ import annotations

#: How many blocks of all pages are not run, by reason; where the reason names tests, they run them.
NOT_RUN = {
    "needs several machines": 1,
    "tests/examples does": 3,
    "takes minutes": 12,  # benchmarks and training: what they print is on the page
    "sets up": 8,  # clones or installs; a test of the packages does
    "needs LLVM's tools": 1,
    "run by tests/error_index": 80,  # made of the examples that they run
}
