"""What is computed about the package: its list of packages and its description for an index.

Everything else is in pyproject.toml. The packages are folders that stand side by side in the
repository, one package when installed. Their list is computed so that a new folder cannot be
forgotten in a wheel; why the map exists is in docs/decisions/0001-package-layout.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent

#: Folder in the repository, and the package it is when installed.
FOLDERS = {
    "snnir": "snnir",
    "frontends": "snnir.frontends",
    "passes": "snnir.passes",
    "targets": "snnir.targets",
}

#: The repository's files on its public host, up to and with the last slash, once there is one:
#: README's links to files of the repository lead there on a package index.
ADDRESS = ""

#: Links inside `snnir/` to the other folders; plain text files where a checkout has no links.
LINKS = {package.removeprefix("snnir.") for package in FOLDERS.values() if package != "snnir"}

#: What an interpreter, a compiler or an editor leaves behind, never part of the package.
LEFTOVERS = (".pyc", ".pyo", ".so", ".dylib", ".pyd", ".orig", ".rej", "~")


def find_packages() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Walk the folders and return the folder and the data files of every package."""
    package_dir: dict[str, str] = {}
    package_data: dict[str, list[str]] = {}
    for folder, package in FOLDERS.items():
        for path, subfolders, files in os.walk(ROOT / folder, followlinks=False):
            if Path(path) == ROOT / "snnir":
                subfolders[:] = [name for name in subfolders if name not in LINKS]
                files = [name for name in files if name not in LINKS]  # noqa: PLW2901
            subfolders[:] = [name for name in subfolders if is_source(name)]
            files = [name for name in files if is_source(name)]  # noqa: PLW2901
            if not files:
                continue
            inner = Path(path).relative_to(ROOT / folder).parts
            name = ".".join((package, *inner))
            package_dir[name] = "/".join((folder, *inner))
            package_data[name] = [file for file in files if not file.endswith(".py")]
    return package_dir, package_data


def is_source(name: str) -> bool:
    """Whether a file or folder of this name belongs to the package."""
    return not (name.startswith(".") or name == "__pycache__" or name.endswith(LEFTOVERS))


def description(readme: str, address: str = ADDRESS) -> str:
    """Return README for an index, where a relative link would lead nowhere.

    Such a link becomes absolute if there is an address, and plain text otherwise.
    """
    link = r"(!?)\[([^\]]+)\]\((?!https?://|#)([^)]+)\)"
    return re.sub(link, rf"\1[\2]({address}\3)" if address else r"\2", readme)


if __name__ == "__main__":
    PACKAGE_DIR, PACKAGE_DATA = find_packages()
    setup(
        packages=sorted(PACKAGE_DIR),
        package_dir=PACKAGE_DIR,
        package_data=PACKAGE_DATA,
        long_description=description((ROOT / "README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
