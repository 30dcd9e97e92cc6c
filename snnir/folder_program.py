"""Files that an emitted program reads and writes, from its command line; copied into each."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any


def command_line(text: str, learns: bool = False) -> argparse.ArgumentParser:
    """Return the arguments that every emitted program takes.

    Args:
        text: What the program is; its first line is shown.
        learns: Whether anything lasts of a run, so that another may go on from it.
    """
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("input", help="a .npy, or a .npz with one array per input")
    parser.add_argument("-o", "--output", default="output.npz", help="default: output.npz")
    parser.add_argument(
        "--record", action="append", default=[], metavar="NODE", help="may be given several times"
    )
    if learns:
        text = "go on from what lasts of an earlier run: the file that it wrote"
        parser.add_argument("--lasting", metavar="FILE.npz", help=text)
    return parser


def check_record(record: Sequence[str], known: Collection[str]) -> None:
    """Exit with a message at the first name that cannot be recorded."""
    for name in record:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.3)
            hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
            raise SystemExit(f"there is nothing called {name!r} to record{hint}")


def read_arrays(path: str, only: str = "") -> dict[str, Any]:
    """Read arrays by name, as `write_results` writes them or not; needs NumPy.

    Args:
        path: A .npz, or a .npy with a single array.
        only: Name of a single array.
    """
    import zipfile

    import numpy as np

    try:
        data = np.load(path, allow_pickle=False)
        if hasattr(data, "files"):
            with data:
                arrays = dict(data)
        else:
            arrays = {only: data}
        if "names" in arrays and arrays["names"].dtype.kind == "U":
            arrays = {str(n): arrays[f"array_{i}"] for i, n in enumerate(arrays["names"].flat)}
    except KeyError as problem:
        raise SystemExit(f"cannot read {path}: there is no {problem}") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as problem:
        raise SystemExit(f"cannot read {path}: {problem}") from None
    return arrays


def read_lasting(
    path: str | None, known: Mapping[str, tuple[tuple[int, ...], str]]
) -> dict[str, Any]:
    """Read what lasts of an earlier run from the file that it wrote; needs NumPy.

    Args:
        path: The file, or a .npz with one entry for each state; nothing is read if there is none.
        known: Shape and element type of what lasts, by `node:state`.
    """
    if path is None:
        return {}
    import numpy as np

    entries = read_arrays(path)
    found = {k.removeprefix("lasting/"): x for k, x in entries.items() if k.startswith("lasting/")}
    if not any(k.startswith("output/") for k in entries):
        found = found or {k: x for k, x in entries.items() if ":" in k}
    if not found:
        raise SystemExit(f"nothing in {path} lasts of a run")
    for name, value in found.items():
        if name not in known:
            raise SystemExit(f"there is no lasting state {name!r}, but {', '.join(known)}")
        shape, dtype = known[name]
        if value.dtype.kind not in "iuf" or value.shape != shape:
            what = f"{value.dtype} {list(value.shape)}"
            raise SystemExit(f"lasting state {name!r} must be {list(shape)}, is {what}")
        is_whole = "int" in dtype
        with np.errstate(over="ignore"):
            finite = np.isfinite(value if is_whole else value.astype(dtype)).all()
        if not finite:
            raise SystemExit(f"lasting state {name!r} contains NaN or infinity")
        if is_whole:
            ends = np.iinfo(dtype)
            # In a narrow type the ends would be rounded to what is outside of them.
            wide = value.astype(np.float64) if value.dtype.kind == "f" else value
            whole = (wide == np.rint(wide)) & (wide >= ends.min) & (wide <= ends.max)
            if not whole.all():
                limits = f"from {ends.min} to {ends.max}"
                raise SystemExit(f"lasting state {name!r} must be whole, {limits}")
    return found


def read_inputs(path: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Read one array, or one per input name, as [time, batch, *shape]; needs NumPy."""
    arrays = read_arrays(path, next(iter(shapes)))
    for name, shape in shapes.items():
        if name not in arrays:
            raise SystemExit(f"input {name!r} is not in {path}")
        if arrays[name].dtype.kind not in "biuf":
            raise SystemExit(f"input {name!r} must be numbers, is {arrays[name].dtype}")
        if arrays[name].shape[1:] == shape:
            arrays[name] = arrays[name][:, None]
        if arrays[name].shape[2:] != shape:
            raise SystemExit(f"input {name!r} must be [T, B, *{shape}], is {arrays[name].shape}")
    return {name: arrays[name] for name in shapes}


def write_results(
    path: str, outputs: Mapping[str, Any], records: Mapping[str, Any], sums: Mapping[str, float],
    more: Mapping[str, Any] | None = None, lasting: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write results in numbered entries: names may hold characters that archives treat as paths.

    Args:
        path: The file.
        outputs: Arrays by name.
        records: The same of what was recorded.
        sums: Spikes by population.
        more: Other arrays, by their full names.
        lasting: What lasts of the run, by `node:state`.
    """
    import numpy as np

    arrays = {f"output/{name}": y for name, y in outputs.items()}
    arrays.update({f"record/{name}": y for name, y in records.items()})
    arrays.update({f"lasting/{name}": y for name, y in (lasting or {}).items()})
    arrays.update(more or {})
    entries: dict[str, Any] = {f"array_{i}": y for i, y in enumerate(arrays.values())}
    np.savez(
        path, names=np.array(list(arrays)), spike_nodes=np.array(list(sums)),
        spike_sums=np.array(list(sums.values())), **entries,
    )  # fmt: skip
