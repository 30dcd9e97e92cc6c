"""Cost against size, drawn from what `x.py bench simulators --json FILE` measured.

The workload of the BindsNET paper: N Poisson inputs, N neurons, dense weights, 1,000 steps.

    x.py bench simulators --workloads "poisson250 T1000 B1 5%,..." --json cost.json
    x.py bench cost cost.json -o docs/cost.svg
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any


def curves(results: dict[str, dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Return (neurons, milliseconds) of every engine that ran, the dearest last."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name, rows in results.items():
        size = re.match(r"poisson(\d+) ", name)
        for engine, facts in rows.items():
            if size and "ms" in facts:
                found.setdefault(engine, []).append((int(size[1]), facts["ms"]))
    for points in found.values():
        points.sort()
    return dict(sorted(found.items(), key=lambda item: item[1][-1][1] / item[1][-1][0]))


def draw(found: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """Write the figure; the kind of file is that of the name's ending."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"svg.hashsalt": "snnir", "svg.fonttype": "none"}):
        figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
        tab, dark = plt.get_cmap("tab20"), plt.get_cmap("Dark2")
        axes.set_prop_cycle(color=[*map(tab, range(0, 20, 2)), *map(dark, range(8))])
        for engine, points in reversed(found.items()):
            ours = engine.startswith("snnir")
            style: dict[str, Any] = {
                "linewidth": 2.2 if ours else 1,
                "marker": "o" if ours else ".",
            }
            if engine == "floor":
                style = {"color": "black", "linestyle": "--", "linewidth": 1}
            axes.plot(*zip(*points, strict=True), label=engine, **style)
        axes.set(
            xscale="log", yscale="log", xlabel="neurons", ylabel="CPU time of 1,000 steps (ms)",
            title="N Poisson inputs (0 to 100 Hz), N neurons, dense weights; one core",
        )  # fmt: skip
        axes.grid(visible=True, which="both", alpha=0.2)
        axes.legend(fontsize="small", ncols=2)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Draw what a file holds."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("results", type=Path, help="what bench simulators wrote with --json")
    parser.add_argument("-o", "--output", type=Path, default=Path("cost.svg"))
    options = parser.parse_args()
    found = curves(json.loads(options.results.read_text(encoding="utf-8")))
    if not found:
        parser.error(f"{options.results} has no workload called poissonN")
    draw(found, options.output)
    print(f"{options.output}: {', '.join(found)}")


if __name__ == "__main__":
    main()
