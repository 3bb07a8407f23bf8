"""An access file lets in whom it names, and nobody by mistake."""

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path

import jwt
import pytest

from legonn_core.errors import BadConfig, TokenInvalid, TokenMissing
from legonn_server.access import table
from legonn_server.access.identity import Identity, Presented, Role, bearer_of
from legonn_server.access.table import parse
from tests.support.access import Signer, key_entry

KEYS = key_entry("lk_one", "acme", "speech") + key_entry("lk_two", "ops", "admin", "metrics")


def read_nothing(name: str) -> str:
    raise AssertionError(name)


def test_a_key_is_its_tenant_and_roles():
    found = parse(KEYS, read_nothing)
    assert found.identity(Presented("lk_one")) == Identity("acme", frozenset({Role.SPEECH}))
    assert found.identity(Presented("lk_two")).roles == {Role.ADMIN, Role.METRICS}


@pytest.mark.parametrize("bearer", ["lk_on", "lk_one ", "LK_ONE", "x" * 100_000, "ключ", "a.b.c"])
def test_another_key_is_nobody(bearer):
    with pytest.raises(TokenInvalid):
        parse(KEYS, read_nothing).identity(Presented(bearer))


def test_no_key_says_what_to_do():
    with pytest.raises(TokenMissing, match="LEGONN_KEY"):
        parse(KEYS, read_nothing).identity(Presented())


def test_every_key_is_compared_whichever_it_is(monkeypatch):
    compared, original = [], hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one) == len(other) == 32)
        return original(one, other)

    monkeypatch.setattr(table.hmac, "compare_digest", compare)
    found = parse(KEYS, read_nothing)
    for bearer in ("lk_one", "lk_two", "lk_no"):
        compared.clear()
        table.find_key(bearer, found.keys)
        assert compared == [True, True]


def test_a_certificate_counts_by_any_of_its_names():
    file = '[[certificates]]\nname = "spiffe://ops"\ntenant = "ops"\nroles = ["admin"]\n'
    found = parse(file, read_nothing)
    assert found.identity(Presented(names=("pod-7", "spiffe://ops"))).tenant == "ops"
    with pytest.raises(TokenInvalid):
        found.identity(Presented(names=("pod-7",)))


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("", "nobody"),
        ("[[keys]\n", "access file"),
        ("[keys]\na = 1", "list of tables"),
        ('[[keys]]\nsha256 = "lk_one"\ntenant = "a"\nroles = ["speech"]', "never the key"),
        (KEYS + 'colour = "red"', "unknown colour"),
        (key_entry("k", "a", "root"), "roles are"),
        (key_entry("k", "a"), "not empty"),
        (KEYS + "[tenants.acme]\nmax_streams = -1", "negative"),
        (KEYS + '[tenants.acme]\npriority = "vip"', "vip"),
        (KEYS + "[tenants]\nacme = 3", "section"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_place(file, told):
    with pytest.raises(BadConfig, match=told):
        parse(file, read_nothing)


def test_a_digest_is_never_repeated():
    with pytest.raises(BadConfig) as caught:
        parse(KEYS + 'colour = "red"', read_nothing)
    assert "sha256 =" not in caught.value.message


def read_from(folder: Path):
    return lambda name: (folder / name).read_text()


def test_a_signed_token_is_its_claims(tmp_path):
    signer = Signer(tmp_path)
    found = parse(signer.entry, read_from(tmp_path))
    identity = found.identity(Presented(signer.token(roles="speech of-another-service admin")))
    assert identity == Identity("acme", frozenset({Role.SPEECH, Role.ADMIN}))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"exp": 1_000_000_000}, "expired"),
        ({"aud": "payroll"}, "another service"),
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"exp": None}, "do not hold"),
        ({"aud": None}, "do not hold"),
        ({"tenant": None}, "tenant"),
        ({"tenant": 7}, "tenant"),
        ({"roles": 7}, "roles"),
        ({"nbf": 4_000_000_000}, "do not hold"),
    ],
)
def test_a_token_that_does_not_hold_is_refused_with_why(tmp_path, changed, told):
    signer = Signer(tmp_path)
    found = parse(signer.entry, read_from(tmp_path))
    with pytest.raises(TokenInvalid, match=told):
        found.identity(Presented(signer.token(**changed)))


def test_forged_tokens_are_refused(tmp_path):
    signer = Signer(tmp_path)
    found = parse(signer.entry, read_from(tmp_path))
    (tmp_path / "other").mkdir()
    stranger = Signer(tmp_path / "other").token()
    head, claims, signature = signer.token().split(".")
    raised = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"roles": ["admin"]}
    forged_claims = base64.urlsafe_b64encode(json.dumps(raised).encode()).decode().rstrip("=")
    content = {"iss": raised["iss"], "aud": "legonn", "exp": raised["exp"], "tenant": "acme"}
    unsigned = jwt.encode(content, None, algorithm="none")
    by_public_key = jwt.encode(content, "the public key is no secret" * 3, algorithm="HS256")
    for token in (
        stranger,
        f"{head}.{forged_claims}.{signature}",
        f"{head}.{claims}.",
        unsigned,
        by_public_key,
        "..",
        "a.b.c",
        f"{head}.{'A' * 9_000}.{signature}",
    ):
        with pytest.raises(TokenInvalid):
            found.identity(Presented(token))


def test_a_symmetric_algorithm_is_no_choice(tmp_path):
    entry = Signer(tmp_path).entry.replace("ES256", "HS256")
    with pytest.raises(BadConfig, match="algorithms"):
        parse(entry, read_from(tmp_path))


def test_keys_of_a_web_key_set_are_found_by_their_id(tmp_path):
    signer = Signer(tmp_path)
    pem = (tmp_path / "issuer.pem").read_bytes()
    public = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).prepare_key(pem)
    entry = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True) | {"kid": "", "alg": "ES256"}
    (tmp_path / "issuer.pem").write_text(json.dumps({"keys": [entry]}))
    found = parse(signer.entry, read_from(tmp_path))
    assert found.identity(Presented(signer.token())).tenant == "acme"


@pytest.mark.parametrize(
    ("header", "bearer"),
    [("Bearer k", "k"), ("bearer  k ", "k"), ("Basic k", ""), ("", ""), ("Bearer", "")],
)
def test_only_a_bearer_is_read(header, bearer):
    assert bearer_of(header) == bearer
