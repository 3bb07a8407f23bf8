"""The access file as a table: keys, certificates, issuers, and the tenants' quotas.

[[keys]]
name = "captions of the town hall"     # for people; may be logged
sha256 = "…"                           # of the key: `legonn keys new` makes both
tenant = "town-hall"
roles = ["speech"]

[[certificates]]
name = "ops.example"                   # common name or an alternative name
tenant = "ops"
roles = ["admin", "metrics"]

[[issuers]]
name = "https://login.example"         # the tokens' iss
audience = "legonn"                    # their aud
keys_file = "login.pem"                # PEM or JSON web key set, beside this file
algorithms = ["ES256"]

[defaults]                             # quotas of tenants that have no section
max_streams = 4

[tenants.town-hall]
audio_seconds_per_minute = 600

[tickets]
secret_file = "tickets.secret"         # only where several gateways share one address
"""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from legonn_core.errors import BadConfig, TokenInvalid, TokenMissing
from legonn_server.access import tokens
from legonn_server.access.identity import Identity, Presented, Priority, Role
from legonn_server.access.quota import TenantQuota
from legonn_server.access.tokens import Issuer

_SECTIONS = {"keys", "certificates", "issuers", "defaults", "tenants", "tickets"}
_MIN_SECRET_CHARACTERS = 32
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StaticKey:
    """One key, of which only the digest is known.

    Attributes:
        digest: SHA-256 of the key. Keys are 32 random bytes, so no salt is needed: there is no
            dictionary of them.
    """

    digest: bytes
    identity: Identity


@dataclass(frozen=True, slots=True)
class AccessTable:
    """Everything that an access file says."""

    keys: tuple[StaticKey, ...] = ()
    certificates: Mapping[str, Identity] = field(default_factory=dict)
    issuers: tuple[Issuer, ...] = ()
    defaults: TenantQuota = TenantQuota()
    tenants: Mapping[str, TenantQuota] = field(default_factory=dict)
    ticket_secret: str = ""

    def quota(self, tenant: str) -> TenantQuota:
        """What a tenant may use."""
        return self.tenants.get(tenant, self.defaults)

    def identity(self, presented: Presented) -> Identity:
        """Who brings this; a key or token counts before a certificate.

        Raises:
            TokenMissing: If nothing was brought.
            TokenInvalid: If it is not known.
        """
        if presented.bearer:
            return self._by_bearer(presented.bearer)
        for name in presented.names:
            if name in self.certificates:
                return self.certificates[name]
        if presented.names:
            raise TokenInvalid("the certificate's name is not in this server's access file")
        raise TokenMissing(
            "this server asks who is calling: send a key or token as `authorization: Bearer …`"
            " (with legonn: --key or $LEGONN_KEY)"
        )

    def _by_bearer(self, bearer: str) -> Identity:
        if self.issuers and tokens.is_token(bearer):
            return tokens.identity_of(bearer, self.issuers)
        found = find_key(bearer, self.keys)
        if found is None:
            raise TokenInvalid("the key is not known here; was it revoked, or meant for another?")
        return found


def find_key(bearer: str, keys: tuple[StaticKey, ...]) -> Identity | None:
    """Whose key it is. Every key is compared, in constant time: how long it takes says nothing."""
    digest = hashlib.sha256(bearer.encode(errors="replace")).digest()
    found: Identity | None = None
    for key in keys:
        if hmac.compare_digest(digest, key.digest):
            found = key.identity
    return found


def parse(content: str, read_keys: Callable[[str], str]) -> AccessTable:
    """Read an access file.

    Args:
        content: TOML, as in the module's docstring.
        read_keys: Gives the text of a file that this one names.

    Raises:
        BadConfig: Says what is wrong and where; never repeats a digest.
    """
    try:
        tree = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"access file: {error}") from error
    _only(tree, "the file", _SECTIONS)
    certificates = [_certificate(entry, at) for at, entry in _listed(tree, "certificates")]
    tenants = tree.get("tenants", {})
    if not isinstance(tenants, dict):
        raise BadConfig("access file: [tenants.NAME] are sections")
    table = AccessTable(
        keys=tuple(_key(entry, at) for at, entry in _listed(tree, "keys")),
        certificates=dict(certificates),
        issuers=tuple(_issuer(entry, at, read_keys) for at, entry in _listed(tree, "issuers")),
        defaults=_quota(tree.get("defaults", {}), "[defaults]"),
        tenants={name: _quota(entry, f"[tenants.{name}]") for name, entry in tenants.items()},
        ticket_secret=_ticket_secret(tree.get("tickets"), read_keys),
    )
    if not (table.keys or table.certificates or table.issuers):
        raise BadConfig("access file: it lets nobody in; add [[keys]] (`legonn keys new`)")
    return table


def _listed(tree: Mapping[str, object], section: str) -> list[tuple[str, Mapping[str, object]]]:
    entries = tree.get(section, [])
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise BadConfig(f"access file: [[{section}]] is a list of tables")
    return [(f"[[{section}]] {number}", one) for number, one in enumerate(entries, 1)]


def _only(entry: Mapping[str, object], where: str, known: set[str]) -> None:
    unknown = sorted(entry.keys() - known)
    if unknown:
        raise BadConfig(
            f"access file, {where}: unknown {', '.join(unknown)}; known are"
            f" {', '.join(sorted(known))}"
        )


def _word(entry: Mapping[str, object], name: str, where: str, default: str = "") -> str:
    value = entry.get(name, default)
    if not isinstance(value, str) or not value:
        raise BadConfig(f"access file, {where}: {name} is missing or no text")
    return value


def _words(entry: Mapping[str, object], name: str, where: str) -> tuple[str, ...]:
    value = entry.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise BadConfig(f"access file, {where}: {name} is a list of words, and not empty")
    return tuple(value)


def _identity(entry: Mapping[str, object], where: str) -> Identity:
    names = _words(entry, "roles", where)
    try:
        roles = frozenset(Role(name) for name in names)
    except ValueError:
        known = ", ".join(Role)
        raise BadConfig(f"access file, {where}: roles are {known}") from None
    return Identity(_word(entry, "tenant", where), roles)


def _key(entry: Mapping[str, object], where: str) -> StaticKey:
    _only(entry, where, {"name", "sha256", "tenant", "roles"})
    digest = _word(entry, "sha256", where)
    if not _SHA256.fullmatch(digest):
        raise BadConfig(f"access file, {where}: sha256 is 64 digits from 0 to f; never the key")
    return StaticKey(bytes.fromhex(digest), _identity(entry, where))


def _certificate(entry: Mapping[str, object], where: str) -> tuple[str, Identity]:
    _only(entry, where, {"name", "tenant", "roles"})
    return _word(entry, "name", where), _identity(entry, where)


def _issuer(entry: Mapping[str, object], where: str, read_keys: Callable[[str], str]) -> Issuer:
    optional = {"tenant_claim", "roles_claim"}
    _only(entry, where, {"name", "audience", "keys_file", "algorithms"} | optional)
    algorithms = _words(entry, "algorithms", where)
    if not set(algorithms) <= tokens.ALGORITHMS:
        known = ", ".join(sorted(tokens.ALGORITHMS))
        raise BadConfig(f"access file, {where}: algorithms are {known}")
    return Issuer(
        name=_word(entry, "name", where),
        audience=_word(entry, "audience", where),
        algorithms=algorithms,
        keys=tokens.public_keys(read_keys(_word(entry, "keys_file", where))),
        tenant_claim=_word(entry, "tenant_claim", where, "tenant"),
        roles_claim=_word(entry, "roles_claim", where, "roles"),
    )


def _ticket_secret(entry: object, read_keys: Callable[[str], str]) -> str:
    if entry is None:
        return ""
    if not isinstance(entry, dict):
        raise BadConfig("access file: [tickets] is a section")
    _only(entry, "[tickets]", {"secret_file"})
    secret = read_keys(_word(entry, "secret_file", "[tickets]")).strip()
    if len(secret) < _MIN_SECRET_CHARACTERS:
        raise BadConfig(
            f"access file, [tickets]: the secret has fewer than {_MIN_SECRET_CHARACTERS}"
            " characters; `openssl rand -hex 32` makes one"
        )
    return secret


def _quota(entry: object, where: str) -> TenantQuota:
    if not isinstance(entry, dict):
        raise BadConfig(f"access file: {where} is a section")
    _only(entry, where, set(TenantQuota.__dataclass_fields__))
    try:
        given = dict(entry)
        if "priority" in given:
            given["priority"] = Priority(given["priority"])
        return TenantQuota(**given)
    except (ValueError, TypeError) as error:
        raise BadConfig(f"access file, {where}: {error}") from error
