"""Whose modules this server loads: a setting, handed to every process that reads a store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModuleTrust:
    """The policy; docs/security.md says how modules are signed.

    Attributes:
        require_signed: Refuse modules that no trusted key has signed.
        keys: Public minisign keys: a file, or a folder of ``*.pub``. Where one is given, a wrong
            signature is refused even if none is required.
    """

    require_signed: bool = False
    keys: str = ""

    def __post_init__(self) -> None:
        if self.require_signed and not self.keys:
            raise ValueError("require_signed needs keys: a file, or a folder of *.pub")

    def arguments(self) -> tuple[str, ...]:
        """For the command line of a process that loads modules."""
        keys = (f"--trust={self.keys}",) if self.keys else ()
        return (*keys, "--require-signed") if self.require_signed else keys
