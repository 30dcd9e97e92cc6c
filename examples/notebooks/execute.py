"""Execute the notebooks of this folder and write their outputs into them.

    python examples/notebooks/execute.py [NAME ...]

Without names, all of them. The tests execute them the same way and compare what is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SECONDS_PER_CELL = 300

#: The kernel's own warnings are not those of the cells.
QUIET = ("--IPKernelApp.log_level=ERROR",)

#: Written into every notebook, so that it does not tell on which machine it was made.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebooks() -> list[Path]:
    """Return the notebooks, in order."""
    return sorted(HERE.glob("*.ipynb"))


def execute(path: Path, folder: Path) -> Any:
    """Run a notebook's cells with this interpreter and this checkout.

    Args:
        path: The notebook; it is read only.
        folder: Where its cells run, and where the kernel keeps its own files.

    Returns:
        The notebook with new outputs and nothing that depends on the machine or on time.

    Raises:
        CellExecutionError: If a cell raises.
    """
    notebook: Any = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        km=_kernel(folder),
        timeout=SECONDS_PER_CELL,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(cleanup_kc=True)  # the kernel is ours, so ending it is too
    return _tidied(notebook)


def _kernel(folder: Path) -> AsyncKernelManager:
    """Return a kernel of this interpreter, whatever kernels are installed."""
    spec = folder / ".kernels" / "here"
    spec.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    facts = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", *QUIET],
        "display_name": "here",
        "language": "python",
        # One thread adds in one order; the user's own start-up scripts stay out.
        "env": {
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": "1",
            "IPYTHONDIR": str(folder / ".ipython"),
            "PYTHONWARNINGS": "ignore::DeprecationWarning",
        },
    }
    (spec / "kernel.json").write_text(json.dumps(facts), encoding="utf-8")
    found = KernelSpecManager(kernel_dirs=[str(spec.parent)])
    return AsyncKernelManager(kernel_name="here", kernel_spec_manager=found)


def _tidied(notebook: Any) -> Any:
    """Return the notebook without times, and with names of cells that do not change."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: Any) -> list[Any]:
    """Return outputs with what is printed to one stream in one piece; how it is cut is chance."""
    made: list[Any] = []
    for output in outputs:
        output.pop("metadata", None) if output.output_type == "stream" else None
        before = made[-1] if made else None
        if (
            before is not None
            and output.output_type == before.output_type == "stream"
            and output.name == before.name
        ):
            before.text += output.text
        else:
            made.append(output)
    return made


def refresh(path: Path) -> None:
    """Execute a notebook and write it back."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made = execute(path, Path(folder))
    nbformat.validate(made)
    nbformat.write(made, path)
    size, seconds = path.stat().st_size / 1000, time.perf_counter() - started
    print(f"{path.name}: {seconds:.0f} s, {size:.0f} kB", flush=True)


def main() -> None:
    """Refresh the notebooks that are named, or all."""
    known = {path.stem: path for path in notebooks()}
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args().names or list(known)
    if wrong := [name for name in names if name not in known]:
        parser.error(f"there is no notebook '{wrong[0]}'; there are {', '.join(known)}")
    for name in names:
        refresh(known[name])


if __name__ == "__main__":
    main()
