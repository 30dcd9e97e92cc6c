"""The traps of stepping a spiking network, each as a table of spikes that it changes.

    python3 x.py bench traps            # print the tables
    python3 x.py bench traps --write    # put them into docs/traps.md
    python3 x.py bench traps NAME ...   # some of them

The models are those of `examples/`, and the inputs are the pictures that the models were trained
for, so that every number can be had again. What stands between `<!-- table: NAME -->` and
`<!-- end -->` in the page is what this script prints. Tables of `MACHINE` depend on the order in
which the machine's libraries add; all others are the same everywhere, which a test checks.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # to find the examples

from benchmarks.trap_tables import chips, dynamics, frameworks, numbers, time_tables

PAGE = Path(__file__).resolve().parent.parent / "docs" / "traps.md"

TABLES: Mapping[str, Callable[[], str]] = {
    "presets": dynamics.presets,
    "reset": dynamics.reset,
    "compare": dynamics.compare,
    "ties": dynamics.ties,
    "gain": dynamics.gain,
    "clamp": dynamics.clamp,
    "integrator": time_tables.integrator,
    "dt": time_tables.step_length,
    "recurrence": time_tables.recurrence,
    "offset": time_tables.offset,
    "contraction": numbers.contraction,
    "sums": numbers.sums,
    "constants": numbers.constants,
    "quantisation": chips.quantisation,
    "round-trip": frameworks.round_trip,
}

#: Tables whose numbers depend on the machine, or on a framework that is installed.
MACHINE = frozenset({"sums", "round-trip"})


def replaced(page: str, name: str, table: str) -> str:
    """Return the text of the page with another table of this name."""
    pattern = re.compile(rf"(<!-- table: {name} -->\n\n).*?(\n<!-- end -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{PAGE}: there is no table {name!r}")
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page)


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--write", action="store_true", help="put them into docs/traps.md")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(TABLES)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    warnings.simplefilter("ignore")  # that the file's own semantics are overridden is the point
    for name in arguments.names or TABLES:
        table = TABLES[name]()
        print(f"{name}\n\n{table}\n", flush=True)
        if arguments.write:
            PAGE.write_text(replaced(PAGE.read_text("utf-8"), name, table), "utf-8")


if __name__ == "__main__":
    main()
