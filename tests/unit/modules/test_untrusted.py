"""A module store is somebody else's: what it must not make this server read, build or believe."""

from __future__ import annotations

import os
import resource
import shutil
import time
import zipfile
from pathlib import Path

import minisign
import pytest

from legonn.cli import main as legonn_main
from legonn_core.errors import BadConfig, BadModule, UnknownModule
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules import golden, signatures
from legonn_core.modules.check import main as check_main
from legonn_core.modules.files import read_inside
from legonn_core.modules.registry import CARD, WEIGHTS, load_module, read_card
from legonn_core.modules.signatures import Trust, key_id, read_keys
from tests.support.tiny import DECODER, GERMAN, SPEECH

SECRET = b"what a server must not read"


def folder_of(store: Path, ref: ModuleRef) -> Path:
    return store / ref.name / ref.version


@pytest.mark.parametrize("file", [CARD, WEIGHTS])
def test_links_lead_nowhere_outside(store: Path, tmp_path: Path, file: str):
    outside = tmp_path / "outside"
    shutil.move(folder_of(store, SPEECH) / file, outside)
    (folder_of(store, SPEECH) / file).symlink_to(outside)
    with pytest.raises(BadModule, match="leads out of the module store"):
        load_module(store, SPEECH)


def test_a_linked_folder_leads_nowhere_outside(store: Path, tmp_path: Path):
    shutil.move(folder_of(store, SPEECH), tmp_path / "1")
    folder_of(store, SPEECH).symlink_to(tmp_path / "1")
    with pytest.raises(BadModule, match="leads out of the module store"):
        load_module(store, SPEECH)


def test_links_inside_are_followed(store: Path):
    """Kubernetes mounts volumes so: names that point at the folder of the day."""
    shutil.move(folder_of(store, SPEECH), store / "..today")
    folder_of(store, SPEECH).symlink_to(store / "..today")
    assert load_module(store, SPEECH).ref == SPEECH


def test_what_is_no_file_is_not_waited_for(store: Path):
    path = folder_of(store, SPEECH) / WEIGHTS
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadModule, match="no plain file"):
        load_module(store, SPEECH)


@pytest.mark.parametrize("name", ["../secret/", "/etc/passwd", "speech-en/../../secret"])
def test_a_path_that_climbs_is_refused(store: Path, name: str):
    (store.parent / "secret").write_bytes(SECRET)
    with pytest.raises(BadModule, match=r"leads out|cannot be read"):
        read_inside(store, name, max_bytes=100)


@pytest.mark.parametrize("name", ["../en", "..", "/etc", ".", "speech-en/1/..", "a\x00b"])
def test_a_name_that_climbs_is_unknown(store: Path, name: str):
    with pytest.raises(UnknownModule):
        read_card(store, ModuleRef(name, "1"))


def test_a_vocabulary_is_read_inside_too(store: Path, tmp_path: Path):
    shutil.move(store / "en/1/vocabulary.json", tmp_path / "vocabulary.json")
    (store / "en/1/vocabulary.json").symlink_to(tmp_path / "vocabulary.json")
    with pytest.raises(BadModule, match="leads out of the module store"):
        load_module(store, SPEECH)


def test_a_huge_file_is_refused_before_it_is_read(store: Path):
    path = folder_of(store, SPEECH) / WEIGHTS
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a hole: takes no disk
    with pytest.raises(BadModule, match="has 1099511627776 bytes, its card says"):
        load_module(store, SPEECH)
    card = folder_of(store, SPEECH) / CARD
    with card.open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(BadModule, match="at most"):
        read_card(store, SPEECH)


@pytest.mark.parametrize(
    ("ref", "key", "value"),
    [
        (SPEECH, "width", 100_000),
        (SPEECH, "hidden", 120_000),
        (SPEECH, "layers", 100_000),
        (SPEECH, "row_layers", 90_000),
        (SPEECH, "width", 1 << 40),
        (GERMAN, "source_pieces", 120_000),
        (DECODER, "layers", 100_000),
    ],
)
def test_a_card_cannot_ask_for_more_than_its_weights_hold(store, ref, key, value):
    path = folder_of(store, ref) / CARD
    lines = path.read_text("utf-8").splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.startswith(f"{key} = "))
    lines[place] = f"{key} = {value}"
    path.write_text("\n".join(lines), "utf-8")
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(BadModule, match=key):
        load_module(store, ref)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 << 10, f"{grown} KiB were taken before it was refused"
    assert time.process_time() - began < 20


def test_a_golden_file_that_unpacks_to_gigabytes_is_refused(store: Path):
    path = folder_of(store, SPEECH) / golden.FILE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("given.npy", bytes(300 << 20))
    with pytest.raises(BadModule, match="unpacks to"):
        golden.check(load_module(store, SPEECH), folder_of(store, SPEECH))


# --- signatures


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert legonn_main(["modules", "sign", "--new-key", "team"]) == 0
    assert (tmp_path / "team.key").stat().st_mode & 0o777 == 0o600
    return tmp_path


def sign(store: Path, key: Path, *refs: ModuleRef) -> int:
    command = ["modules", "sign", "--key", str(key), "--from", str(store), *map(str, refs)]
    return legonn_main(command)


def test_a_signed_module_is_loaded_and_an_unsigned_one_is_not(store: Path, keys: Path):
    trust = Trust(read_keys([keys / "team.pub"]), require_signed=True)
    assert sign(store, keys / "team.key", SPEECH) == 0
    assert load_module(store, SPEECH, trust).ref == SPEECH
    with pytest.raises(BadModule, match="text-de/1 is not signed"):
        load_module(store, GERMAN, trust)
    assert load_module(store, GERMAN, Trust(trust.keys)).ref == GERMAN


def test_a_changed_card_is_refused_even_if_no_signature_is_required(store: Path, keys: Path):
    sign(store, keys / "team.key", SPEECH)
    path = folder_of(store, SPEECH) / CARD
    path.write_bytes(path.read_bytes() + b"\n# a word more\n")
    with pytest.raises(BadModule, match="not of this card"):
        load_module(store, SPEECH, Trust(read_keys([keys / "team.pub"])))


def test_a_signature_of_a_stranger_is_refused(store: Path, keys: Path):
    legonn_main(["modules", "sign", "--new-key", "stranger"])
    sign(store, keys / "stranger.key", SPEECH)
    trust = Trust(read_keys([keys / "team.pub"]))
    with pytest.raises(BadModule, match="not trusted here"):
        load_module(store, SPEECH, trust)
    both = Trust(read_keys([keys]), require_signed=True)  # a folder: keys are changed one by one
    assert len(both.keys) == 2
    assert load_module(store, SPEECH, both).ref == SPEECH


def test_a_signature_moved_to_another_module_is_refused(store: Path, keys: Path):
    sign(store, keys / "team.key", SPEECH)
    signature = folder_of(store, SPEECH) / (CARD + signatures.SUFFIX)
    shutil.copy(signature, folder_of(store, GERMAN))
    with pytest.raises(BadModule, match="not of this card"):
        load_module(store, GERMAN, Trust(read_keys([keys / "team.pub"])))


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 300, b"a\nb\nc\nd\n"])
def test_a_signature_that_is_none_is_refused(store: Path, keys: Path, content: bytes):
    (folder_of(store, SPEECH) / (CARD + signatures.SUFFIX)).write_bytes(content)
    with pytest.raises(BadModule, match="cannot be read"):
        load_module(store, SPEECH, Trust(read_keys([keys / "team.pub"])))


def test_the_format_is_minisign_s(store: Path, keys: Path):
    sign(store, keys / "team.key", SPEECH)
    (public,) = read_keys([keys / "team.pub"])
    public.verify_file(folder_of(store, SPEECH) / CARD)
    signature = minisign.Signature.from_file(f"{folder_of(store, SPEECH) / CARD}.minisig")
    assert signature.is_prehashed()
    assert signature.trusted_comment == "legonn speech-en/1"
    assert len(key_id(public)) == 16


def test_keys_that_are_none_are_said(tmp_path: Path):
    for path in (tmp_path, tmp_path / "absent", Path(__file__)):
        with pytest.raises(BadConfig):
            read_keys([path])
    with pytest.raises(ValueError, match="no key"):
        Trust(require_signed=True)


def test_the_check_before_service_holds_to_the_policy(store: Path, keys: Path, capsys):
    asked = ["--store", str(store), str(SPEECH), "--trust", str(keys / "team.pub")]
    assert check_main([*asked, "--require-signed"]) == 1
    assert "is not signed" in capsys.readouterr().out
    sign(store, keys / "team.key", SPEECH)
    assert check_main([*asked, "--require-signed"]) == 0


def test_verify_names_who_is_not_signed(store: Path, keys: Path, capsys):
    sign(store, keys / "team.key", SPEECH)
    command = ["modules", "sign", "--verify", str(keys / "team.pub"), "--from", str(store)]
    assert legonn_main([*command, str(SPEECH)]) == 0
    assert legonn_main(command) == 1
    assert "text-de/1 is not signed" in capsys.readouterr().out
