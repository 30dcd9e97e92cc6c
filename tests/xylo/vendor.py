"""Runs configurations with the vendor's simulator; called in a process of its own.

python vendor.py CASES.json TRACES.npz
"""

from __future__ import annotations

import json
import sys

import numpy as np

from snnir.targets.xylo.load_xylosim import run


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    arrays = {}
    for number, case in enumerate(cases):
        for name, values in run(case["config"], case["events"]).items():
            arrays[f"{number}/{name}"] = values
    np.savez(sys.argv[2], **arrays)


if __name__ == "__main__":
    main()
