"""Who may call, at both doors: keys, tokens, certificates, tickets, and changes under streams."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import websockets

import legonn
from legonn.v1 import module_service_pb2 as modules_pb
from legonn_core.errors import BadConfig
from legonn_server.access import tickets
from legonn_server.config.doors import refuse_open_doors
from legonn_server.config.settings import ServerSettings, Settings
from legonn_server.gateway.doorkeeper import AccessOptions
from legonn_server.gateway.metrics_page import check_of, metrics_page
from legonn_server.gateway.tls import TlsFiles
from legonn_server.gateway.web.bridge import PROTOCOL
from tests.support.access import Signer, key_entry
from tests.support.certificates import Authority
from tests.support.gateway import (
    audio,
    first,
    linear16,
    refusal,
    running,
    streamed,
    texts,
    tone,
    two_utterances,
)
from tests.support.web import CONFIG, finals, heard

SPEECH, ADMIN, METRICS = "lk_speech", "lk_admin", "lk_metrics"
FILE = (
    key_entry(SPEECH, "acme", "speech", "translate")
    + key_entry(ADMIN, "ops", "admin")
    + key_entry(METRICS, "ops", "metrics")
)


def bearer(key: str):
    return (("authorization", f"Bearer {key}"),)


@pytest.fixture
def access_file(tmp_path: Path) -> Path:
    path = tmp_path / "access.toml"
    path.write_text(FILE)
    return path


@asynccontextmanager
async def guarded(path: Path, **more: object):
    async with running(access=AccessOptions(file=str(path)), **more) as server:
        yield server


async def call(url: str, *, key: str = "", method: str = "GET", context=None):
    """Status and JSON of an answer."""

    def ask():
        headers = {"authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(url, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    status, content = await asyncio.to_thread(ask)
    return status, json.loads(content) if content.startswith(b"{") else content.decode()


async def remaining(open_call):
    """Every answer that is still to come."""
    answers = []
    while (answer := await open_call.read()) is not grpc.aio.EOF:
        answers.append(answer)
    return answers


async def test_grpc_serves_a_key_within_its_roles(access_file):
    async with guarded(access_file) as server:
        with pytest.raises(grpc.RpcError) as caught:
            await server.modules.ListModules(modules_pb.ListModulesRequest())
        told = refusal(caught.value)
        assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
        assert "--key" in told.message
        with pytest.raises(grpc.RpcError) as caught:
            await server.modules.ListModules(
                modules_pb.ListModulesRequest(), metadata=bearer("lk_wrong")
            )
        assert refusal(caught.value).reason == "TOKEN_INVALID"
        with pytest.raises(grpc.RpcError) as caught:
            await server.modules.ListModules(
                modules_pb.ListModulesRequest(), metadata=bearer(SPEECH)
            )
        told = refusal(caught.value)
        assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE")
        found = await server.modules.ListModules(
            modules_pb.ListModulesRequest(), metadata=bearer(ADMIN)
        )
        assert found.modules


async def test_a_stream_is_refused_before_it_holds_a_place(access_file):
    async with guarded(access_file) as server:
        with pytest.raises(grpc.RpcError) as caught:
            await streamed(server.speech, [first()])
        assert refusal(caught.value).reason == "TOKEN_MISSING"
        assert server.gateway.services.speech_admission.num_open == 0


async def test_both_clients_bring_their_key(access_file, monkeypatch):
    async with guarded(access_file) as server:
        address = server.gateway.address
        with pytest.raises(legonn.Unauthenticated, match="--key"):
            async with legonn.AsyncClient(address) as client:
                await client.transcribe(tone(1.0))
        async with legonn.AsyncClient(address, access=legonn.Access(key=SPEECH)) as client:
            assert (await client.transcribe(two_utterances())).text
            assert await client.health() == "SERVING"
            with pytest.raises(legonn.PermissionDenied, match="role admin"):
                await client.modules()
        monkeypatch.setenv("LEGONN_KEY", ADMIN)

        def blocking() -> list[legonn.ModuleInfo]:
            with legonn.Client(address) as client:
                return client.modules()

        assert await asyncio.to_thread(blocking)


async def test_health_is_open_on_both_doors(access_file):
    async with guarded(access_file, http="127.0.0.1:0") as server:
        async with legonn.AsyncClient(server.gateway.address) as client:
            assert await client.health() == "SERVING"
        assert await call(f"{server.gateway.page}v1/health") == (200, {"status": "SERVING"})


async def test_http_serves_a_key_within_its_roles(access_file):
    async with guarded(access_file, http="127.0.0.1:0") as server:
        page = server.gateway.page
        assert (await call(page))[0] == 200
        status, told = await call(f"{page}v1/modules")
        assert (status, told["error"]["code"]) == (401, "TOKEN_MISSING")
        status, told = await call(f"{page}v1/modules", key=SPEECH)
        assert (status, told["error"]["code"]) == (403, "ROLE")
        assert (await call(f"{page}v1/modules", key=ADMIN))[0] == 200
        assert (await call(f"{page}v1/routes", key=SPEECH))[0] == 200
        assert (await call(f"{page}v1/routes/../modules", key=SPEECH))[0] == 403
        assert (await call(f"{page}v1%2Fmodules"))[0] in (401, 404)


async def test_a_browser_trades_its_key_for_a_ticket(access_file):
    async with guarded(access_file, http="127.0.0.1:0") as server:
        page = server.gateway.page
        url = page.replace("http", "ws", 1) + "v1/captions"
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with websockets.connect(url, subprotocols=[PROTOCOL]):
                pass
        assert caught.value.response.status_code == 401
        assert (await call(f"{page}v1/tickets", method="POST"))[0] == 401
        assert (await call(f"{page}v1/tickets", method="POST", key=ADMIN))[0] == 403
        _, told = await call(f"{page}v1/tickets", method="POST", key=SPEECH)
        wish = tickets.PREFIX + told["ticket"]
        async with websockets.connect(url, subprotocols=[PROTOCOL, wish]) as socket:
            assert socket.subprotocol == PROTOCOL
            await socket.send(json.dumps({"config": CONFIG}))
            await socket.send(linear16(tone(1.0)))
            await socket.send('{"end": {}}')
            assert finals(await heard(socket))
        bad = wish[:-4] + "AAAA"
        with pytest.raises(websockets.InvalidStatus):
            async with websockets.connect(url, subprotocols=[PROTOCOL, bad]):
                pass


async def test_tokens_of_an_issuer_are_served(access_file):
    signer = Signer(access_file.parent)
    access_file.write_text(FILE + signer.entry)
    async with guarded(access_file) as server:
        answers = server.speech.StreamingRecognize(
            iter([first(), audio(linear16(tone(1.0)))]), metadata=bearer(signer.token())
        )
        assert texts([one async for one in answers])
        with pytest.raises(grpc.RpcError) as caught:
            async for _ in server.speech.StreamingRecognize(
                iter([first()]), metadata=bearer(signer.token(exp=1_000_000_000))
            ):
                pass
        assert "expired" in refusal(caught.value).message


async def test_keys_change_without_dropping_a_stream(access_file):
    async with guarded(access_file) as server:
        open_call = server.speech.StreamingRecognize(metadata=bearer(SPEECH))
        await open_call.write(first())
        await open_call.read()
        access_file.write_text(key_entry("lk_next", "acme", "speech"))

        async def is_taken_over() -> bool:
            try:
                await server.modules.ListModules(
                    modules_pb.ListModulesRequest(), metadata=bearer("lk_next")
                )
            except grpc.RpcError as error:
                return refusal(error).reason == "ROLE"
            return False

        async with asyncio.timeout(60):
            while not await is_taken_over():
                await asyncio.sleep(0.2)
        with pytest.raises(grpc.RpcError) as caught:
            await streamed(server.speech, [first()])
        assert refusal(caught.value).reason == "TOKEN_MISSING"
        await open_call.write(audio(linear16(tone(1.0))))
        await open_call.done_writing()
        rest = await remaining(open_call)
        assert texts(rest) and rest[-1].HasField("summary")


async def test_a_wrong_file_changes_nothing(access_file):
    async with guarded(access_file) as server:
        reloads = server.gateway.metrics.access_reloads.labels("failed")
        access_file.write_text("[[keys]]\nsha256 = 3")
        async with asyncio.timeout(60):
            while not reloads._value.get():
                await asyncio.sleep(0.2)
                await server.modules.ListModules(
                    modules_pb.ListModulesRequest(), metadata=bearer(ADMIN)
                )
        await server.modules.ListModules(modules_pb.ListModulesRequest(), metadata=bearer(ADMIN))


def tls_of(authority: Authority, name: str = "server", **more: str) -> TlsFiles:
    certificate, key = authority.issue(name)
    return TlsFiles(str(certificate), str(key), **more)


def dialling(authority: Authority, certificate: tuple[Path, Path] | None = None):
    chain, key = (one.read_bytes() for one in certificate) if certificate else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key, chain)
    return lambda address: grpc.aio.secure_channel(address, credentials)


async def test_both_doors_speak_tls_and_take_new_certificates_while_streams_run(tmp_path):
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    files = tls_of(old)
    async with running(tls=files, dial=dialling(old), http="127.0.0.1:0") as server:
        health = f"{server.gateway.page}v1/health"
        assert health.startswith("https://")
        open_call = server.speech.StreamingRecognize()
        await open_call.write(first())
        await open_call.read()
        assert (await call(health, context=ssl.create_default_context(cafile=old.ca)))[0] == 200
        renewed, renewed_key = new.issue("renewed")
        renewed.replace(files.certificate)
        renewed_key.replace(files.private_key)
        assert (await call(health, context=ssl.create_default_context(cafile=new.ca)))[0] == 200
        with pytest.raises(urllib.error.URLError):
            await call(health, context=ssl.create_default_context(cafile=old.ca))
        access = legonn.Access(ca=str(new.ca))
        async with legonn.AsyncClient(server.gateway.address, access=access) as client:
            assert (await client.transcribe(tone(1.0))).text
        await open_call.write(audio(linear16(tone(1.0))))
        await open_call.done_writing()
        assert texts(await remaining(open_call))


async def test_half_a_renewal_changes_nothing(tmp_path):
    authority = Authority(tmp_path)
    files = tls_of(authority)
    async with running(tls=files, dial=dialling(authority), http="127.0.0.1:0") as server:
        other, _ = authority.issue("other")
        other.replace(files.certificate)  # without its key
        context = ssl.create_default_context(cafile=authority.ca)
        assert (await call(f"{server.gateway.page}v1/health", context=context))[0] == 200
        access = legonn.Access(ca=str(authority.ca))
        async with legonn.AsyncClient(server.gateway.address, access=access) as client:
            assert await client.health() == "SERVING"
        assert server.gateway.metrics.access_reloads.labels("failed")._value.get() == 1


async def test_a_certificate_is_an_identity_on_both_doors(tmp_path, access_file):
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    access_file.write_text(
        '[[certificates]]\nname = "ops.example"\ntenant = "ops"\nroles = ["admin"]\n'
    )
    ops, guest = authority.issue("ops.example"), authority.issue("guest.example")
    forged = stranger.issue("ops.example", file="forged")
    files = tls_of(authority, client_ca=str(authority.ca))
    dial = dialling(authority, ops)
    async with guarded(access_file, tls=files, dial=dial, http="127.0.0.1:0") as server:
        assert await server.modules.ListModules(modules_pb.ListModulesRequest())
        for pair, expected in ((guest, legonn.Unauthenticated), (forged, legonn.Unavailable)):
            access = legonn.Access(
                ca=str(authority.ca), certificate=str(pair[0]), certificate_key=str(pair[1])
            )
            with pytest.raises(expected):
                async with legonn.AsyncClient(
                    server.gateway.address, access=access, retry=legonn.NO_RETRIES
                ) as client:
                    await client.modules()
        url = f"{server.gateway.page}v1/modules"
        context = ssl.create_default_context(cafile=authority.ca)
        assert (await call(url, context=context))[0] == 401
        context.load_cert_chain(*ops)
        assert (await call(url, context=context))[0] == 200


async def test_metrics_ask_for_their_role(access_file):
    async with guarded(access_file) as server:
        registry = server.gateway.metrics.registry
        with metrics_page(
            "127.0.0.1", 0, registry, check=check_of(server.gateway.doorkeeper)
        ) as at:
            url = f"http://127.0.0.1:{at}/metrics"
            assert (await call(url))[0] == 401
            assert (await call(url, key=SPEECH))[0] == 403
            status, told = await call(url, key=METRICS)
            assert status == 200 and "legonn_rpc_started_total" in told


def test_nobody_is_let_in_from_other_machines_by_mistake():
    beyond = ServerSettings(listen="0.0.0.0:50051", http="")
    with pytest.raises(BadConfig, match="--insecure"):
        refuse_open_doors(Settings(server=beyond))
    with pytest.raises(BadConfig, match=r"0\.0\.0\.0:8080"):
        refuse_open_doors(Settings(server=ServerSettings(http="0.0.0.0:8080")))
    refuse_open_doors(Settings(server=beyond, access=AccessOptions(insecure=True)))
    refuse_open_doors(Settings(server=beyond, access=AccessOptions(file="access.toml")))
    refuse_open_doors(Settings())


def test_an_open_door_is_said_aloud(caplog):
    logger = logging.getLogger("legonn")
    logger.propagate = True
    beyond = ServerSettings(listen="0.0.0.0:50051", http="")
    with caplog.at_level(logging.WARNING, "legonn"):
        refuse_open_doors(Settings(server=beyond, access=AccessOptions(insecure=True)))
    assert "without a key" in caplog.text and "unencrypted" in caplog.text
