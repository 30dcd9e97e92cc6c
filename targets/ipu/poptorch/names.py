"""Python identifiers for the nodes of a graph, whatever they are called."""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass, field

#: What the script uses besides the names of a network.
USED = frozenset(
    {
        *("self", "body", "batch", "steps", "t", "inf", "nan", "weights", "ipus"),
        *("argparse", "pathlib", "np", "torch", "nn", "functional", "poptorch", "main"),
        *keyword.kwlist,
        *dir(builtins),
    }
)

#: First words of what `torch.nn.Module` has with several words in its name.
MODULE_WORDS = frozenset(
    {
        *("add", "call", "dump", "extra", "get", "ipu", "load", "named", "register", "requires"),
        *("set", "share", "state", "to", "zero"),
    }
)


def identifier(name: str, otherwise: str = "node") -> str:
    """Return an identifier in ASCII that reminds of a name."""
    word = re.sub(r"[^A-Za-z0-9]+", "_", name)[:40].strip("_").lower() or otherwise
    return f"n{word}" if word[0].isdigit() else word


@dataclass
class Names:
    """Gives every identifier once.

    Attributes:
        taken: What is in use.
    """

    taken: set[str] = field(default_factory=lambda: set(USED))

    def fresh(self, name: str) -> str:
        """Return an identifier that reminds of a name and is nobody else's."""
        stem = identifier(name)
        found, count = stem, 1
        while found in self.taken:
            count += 1
            found = f"{stem}_{count}"
        self.taken.add(found)
        return found

    def attribute(self, node: str, key: str) -> str:
        """Return an attribute of the module: a tensor of a node."""
        stem = identifier(node)
        stem = f"n_{stem}" if stem.split("_")[0] in MODULE_WORDS else stem
        return self.fresh(f"{stem}_{key}")
