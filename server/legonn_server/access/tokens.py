"""Signed tokens (JWT, RFC 7519): who issued them, for whom, until when.

PyJWT checks the signature; here is what is asked of a token beyond that. Algorithms come from the
access file and never from the token, and only asymmetric ones are taken: a public key that leaks
signs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import jwt

from legonn_core.errors import BadConfig, TokenInvalid
from legonn_server.access.identity import Identity, Role

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"})
_LEEWAY_S = 30
_MAX_TOKEN_CHARACTERS = 8_192
_MAX_TENANT_CHARACTERS = 128


@dataclass(frozen=True)
class Issuer:
    """Somebody whose tokens are believed.

    Attributes:
        name: What the tokens' ``iss`` says.
        audience: What their ``aud`` holds: this service.
        algorithms: Signatures that are taken.
        keys: Public keys by ``kid``; a lone PEM key stands under the empty id.
        tenant_claim: The claim that names the tenant.
        roles_claim: The claim that lists the roles, as an array or divided by blanks.
    """

    name: str
    audience: str
    algorithms: tuple[str, ...]
    keys: Mapping[str, jwt.PyJWK | str]
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"

    def identity(self, token: str) -> Identity:
        """Who the token speaks for.

        Raises:
            TokenInvalid: If it is forged, expired, or for somebody else; says which, never more.
        """
        try:
            kid = str(jwt.get_unverified_header(token).get("kid", ""))
            key = self.keys.get(kid) or (self.keys.get("") if len(self.keys) == 1 else None)
            if key is None:
                raise TokenInvalid("the token is signed with a key that this server does not know")
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self.algorithms),
                audience=self.audience,
                issuer=self.name,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenInvalid("the token has expired; ask its issuer for a new one") from None
        except jwt.InvalidAudienceError:
            raise TokenInvalid("the token is meant for another service") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise TokenInvalid("the token's signature or claims do not hold") from None
        return self._identity(claims)

    def _identity(self, claims: Mapping[str, object]) -> Identity:
        tenant = claims.get(self.tenant_claim)
        if not isinstance(tenant, str) or not 0 < len(tenant) <= _MAX_TENANT_CHARACTERS:
            raise TokenInvalid(f"the token has no claim {self.tenant_claim} that names a tenant")
        listed = claims.get(self.roles_claim, ())
        names = listed.split() if isinstance(listed, str) else listed
        if not isinstance(names, (list, tuple)):
            raise TokenInvalid(f"the token's claim {self.roles_claim} is no list of roles")
        # Issuers serve many services: roles of others are theirs.
        return Identity(tenant, frozenset(role for role in Role if role.value in names))


def is_token(bearer: str) -> bool:
    """Whether a bearer has the form of a signed token: three parts divided by dots."""
    return bearer.count(".") == 2


def identity_of(token: str, issuers: tuple[Issuer, ...]) -> Identity:
    """Who a token speaks for.

    Raises:
        TokenInvalid: If nobody who is believed has signed it.
    """
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise TokenInvalid("the token is too long")
    try:
        # Only to choose whose key is tried; nothing of it is believed before the signature holds.
        named = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, TypeError):
        raise TokenInvalid("the token cannot be read") from None
    for issuer in issuers:
        if issuer.name == named:
            return issuer.identity(token)
    raise TokenInvalid("the token's issuer is not one of this server's access file")


def public_keys(content: str) -> dict[str, jwt.PyJWK | str]:
    """Keys of a PEM file or of a JSON web key set (RFC 7517).

    Raises:
        BadConfig: If it is neither.
    """
    if content.lstrip().startswith("-----BEGIN PUBLIC KEY-----"):
        return {"": content}
    try:
        found = jwt.PyJWKSet.from_dict(json.loads(content))
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise BadConfig(
            "an issuer's keys are a PEM file that begins with BEGIN PUBLIC KEY, or a JSON web key"
            " set"
        ) from error
    return {key.key_id or "": key for key in found.keys}
