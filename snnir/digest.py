"""Digests of files, which tie artefacts and provenance to what was read or written."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks.

    Raises:
        OSError: If the file cannot be read; what that means depends on the caller.
    """
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()
