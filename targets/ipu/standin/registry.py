"""What popc finds out by itself: the codelets of a source file and their fields.

Reads classes of the one form that is generated and writes the C++ that registers them with the
stand-in for Poplar. This module depends on the standard library alone and is copied into emitted
folders.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ELEMENT = (
    r"(?:float|half|int|unsigned(?: int)?|unsigned short|short|signed char|unsigned char|long long)"
)
VECTOR = rf"poplar::Vector<{ELEMENT}(?:, poplar::VectorLayout::(?:SPAN|ONE_PTR)(?:, \d+)?)?>"
FIELD_FORM = re.compile(rf"(?:{ELEMENT}|poplar::(?:Input|Output|InOut)<{VECTOR}>) ([A-Za-z_]\w*)")
CODELET_FORM = re.compile(
    r"class ([A-Za-z_]\w*) : public poplar::Vertex \{ public: (.*?)bool compute\(\) \{"
)
CPP_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


class UnknownCodelet(ValueError):
    """The source has a codelet that is not of the form this module reads."""


@dataclass(frozen=True)
class Codelet:
    """A class and the names of its fields, in order."""

    name: str
    fields: tuple[str, ...]


def codelets(source: str) -> list[Codelet]:
    """Return the codelets of a C++ source.

    Raises:
        UnknownCodelet: If a vertex or a field is written in another way, or there is none at all.
    """
    text = " ".join(CPP_COMMENT.sub(" ", source).split())
    found = [Codelet(m[1], _fields_declared(m[1], m[2])) for m in CODELET_FORM.finditer(text)]
    vertices = len(re.findall(r"\b\w*Vertex\b", text.replace("poplar/Vertex.hpp", "")))
    if vertices != len(found):
        raise UnknownCodelet(
            f"{vertices} mentions of vertices, {len(found)} classes of the known form"
        )
    names = [codelet.name for codelet in found]
    if len(set(names)) != len(names):
        raise UnknownCodelet(f"two codelets of one name: {', '.join(names)}")
    return found


def _fields_declared(name: str, body: str) -> tuple[str, ...]:
    """Return the names of the fields declared in the part of a class before `compute`."""
    *declarations, rest = body.split(";")
    fields = []
    for declaration in declarations:
        match = FIELD_FORM.fullmatch(declaration.strip())
        if match is None:
            raise UnknownCodelet(
                f"class {name}: the field '{declaration.strip()}' is of no known form"
            )
        fields.append(match[1])
    if rest.strip() or not fields or len(set(fields)) != len(fields):
        raise UnknownCodelet(f"class {name}: its fields are of no known form")
    return tuple(fields)


def registration(source: str, file: str = "codelets.cpp") -> str:
    """Return a C++ unit that includes the codelets and registers each of them.

    Args:
        source: The text of the codelets.
        file: The name under which the unit includes them.
    """
    return "\n".join(
        [f'#include "{file}"', "", "namespace {", *map(_registration_of, codelets(source)), "}", ""]
    )


def _registration_of(codelet: Codelet) -> str:
    name = codelet.name
    places = [(field, f"{name}::{field}") for field in codelet.fields]
    return "\n".join(
        [
            f"const snnir_standin::Field fields_of_{name}[] = {{",
            *(
                f'    snnir_standin::field_of<{name}, decltype({at}), &{at}>("{field}"),'
                for field, at in places
            ),
            "};",
            f"const bool known_{name} = snnir_standin::add_kind(snnir_standin::kind_of<{name}>(",
            f'    "{name}", fields_of_{name}, {len(places)}));',
        ]
    )
