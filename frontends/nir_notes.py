"""What an import assumed, repaired or found wrong, collected and told once."""

from __future__ import annotations

from dataclasses import dataclass, field

from snnir.errors import Diagnostic, SnnirError, shown, warn


@dataclass
class Notes:
    """Collector for one file.

    Attributes:
        source: Name of the file.
        repair: Whether repairs that change what the file says may be applied.
        repairs: Those that were: node, what was found, what was done.
    """

    source: str
    repair: bool = False
    errors: list[Diagnostic] = field(default_factory=list)
    repairs: list[tuple[str, str, str]] = field(default_factory=list)
    _assumed: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _repaired: list[Diagnostic] = field(default_factory=list)

    def assume(self, message: str, node: str | None = None, code: str = "SNN109") -> None:
        """Note a harmless reading of an old or sloppy file; nodes with one message are grouped."""
        nodes = self._assumed.setdefault((code, message), [])
        if node is not None:
            nodes.append(node)

    def fix(self, code: str, message: str, repair: str, node: str | None = None) -> bool:
        """Return True if the repair may be applied; else record the error that offers it."""
        if self.repair:
            text = f"{message}; repaired: {repair}"
            self.repairs.append((node or "", message, repair))
            self._repaired.append(Diagnostic("SNN109", text, node=node, source=self.source))
            return True
        self.fail(code, message, node, f"--repair would {repair}")
        return False

    def fail(
        self, code: str, message: str, node: str | None = None, hint: str | None = None
    ) -> None:
        """Record an error."""
        self.errors.append(Diagnostic(code, message, node=node, source=self.source, hint=hint))

    def settle(self) -> tuple[str, ...]:
        """Raise the errors, or emit the warnings and return them as sentences.

        Raises:
            SnnirError: Everything recorded by `fail` and refused by `fix`.
        """
        if self.errors:
            raise SnnirError(dict.fromkeys(self.errors))
        found = list(self._repaired)
        for (code, message), nodes in self._assumed.items():
            listed = ", ".join(shown(node) for node in sorted(nodes)[:4])
            more = f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""
            where = f" (in {listed}{more})" if nodes else ""
            found.append(Diagnostic(code, message + where, source=self.source))
        for diagnostic in found:
            warn(diagnostic, stacklevel=4)
        return tuple(f"node '{shown(d.node)}': {d.message}" if d.node else d.message for d in found)
