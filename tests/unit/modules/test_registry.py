"""A module loads whole or is refused with a sentence that says why: file by file, line by line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from legonn_core.errors import BadModule, LegonnError, UnknownModule, VocabularyMismatch
from legonn_core.interface.card import ModuleCard
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules import weights
from legonn_core.modules.registry import (
    WEIGHTS,
    describe,
    find_modules,
    load_module,
    read_card,
)
from tests.support.tiny import DECODER, GERMAN, NUM_CLASSES, SPEECH, SPEECH_SHAPE


def folder_of(store: Path, ref: ModuleRef) -> Path:
    return store / ref.name / ref.version


def edit_card(store: Path, ref: ModuleRef, change: Callable[[ModuleCard], ModuleCard]) -> None:
    path = folder_of(store, ref) / "card.toml"
    path.write_text(change(ModuleCard.parse(path.read_text("utf-8"))).to_toml(), "utf-8")


def edit_file(
    store: Path, ref: ModuleRef, file: str, change: Callable[[bytes], bytes], *, known: bool = False
) -> None:
    """Change a file of a module; if ``known``, its card learns of it."""
    path = folder_of(store, ref) / file
    path.write_bytes(change(path.read_bytes()))
    if known:
        new = {file: weights.digest(path.read_bytes())}
        edit_card(store, ref, lambda card: replace(card, weights=card.weights | new))


def edit_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        tensors = safetensors.torch.load(content)
        change(tensors)
        return safetensors.torch.save(tensors)

    return changed


@pytest.mark.parametrize("ref", [SPEECH, GERMAN, DECODER], ids=str)
def test_a_module_loads_as_it_was_written(tiny_store, ref):
    module = load_module(tiny_store, ref)
    assert module.ref == ref
    assert not module.network.training
    assert not any(p.requires_grad for p in module.network.parameters())
    assert (module.source is not None) == (ref == GERMAN)
    description = describe(module.card)
    assert description.num_parameters == sum(p.numel() for p in module.network.parameters())
    assert description.chunk_samples == (SPEECH_SHAPE.chunk_samples if ref == SPEECH else 0)


def test_the_state_on_the_card_is_the_state_in_memory(tiny_store):
    module = load_module(tiny_store, SPEECH)
    state = module.network.start(3)
    assert module.card.state_bytes * 3 == state.size_bytes


def test_versions_are_found_in_the_order_of_numbers(tiny_store, tmp_path):
    for version in ("10", "9", "2"):
        shutil.copytree(folder_of(tiny_store, GERMAN), tmp_path / "text-de" / version)
    (tmp_path / "text-de" / "11").mkdir()
    assert [ref.version for ref in find_modules(tmp_path)] == ["2", "9", "10"]


@pytest.mark.parametrize(
    "ref",
    [ModuleRef("speech-en", "2"), ModuleRef("..", "speech-en"), ModuleRef("../store", "1")],
    ids=str,
)
def test_what_is_not_in_the_store_is_unknown(tiny_store, ref):
    with pytest.raises(UnknownModule, match=r"it has: decoder-en/1, speech-en/1, text-de/1"):
        load_module(tiny_store, ref)


@dataclass(frozen=True)
class Spoiling:
    """One way to spoil a store, and what must be said of it."""

    ref: ModuleRef
    spoil: Callable[[Path], object]
    error: type[LegonnError]
    said: str


def card_text(old: str, new: str, ref: ModuleRef = SPEECH) -> Callable[[Path], object]:
    def change(store: Path) -> None:
        path = folder_of(store, ref) / "card.toml"
        content = path.read_text("utf-8")
        assert old in content
        path.write_text(content.replace(old, new, 1), "utf-8")

    return change


SPOILED = {
    "a byte of the weights": Spoiling(
        SPEECH,
        lambda store: edit_file(
            store, SPEECH, WEIGHTS, lambda old: old[:-1] + bytes([old[-1] ^ 1])
        ),
        BadModule,
        "speech-en/1: weights.safetensors does not have the sha256 on its card",
    ),
    "half of the weights": Spoiling(
        SPEECH,
        lambda store: edit_file(store, SPEECH, WEIGHTS, lambda old: old[: len(old) // 2]),
        BadModule,
        "weights.safetensors has .* bytes, its card says .*; the file is cut short",
    ),
    "no weights": Spoiling(
        DECODER,
        lambda store: (folder_of(store, DECODER) / WEIGHTS).unlink(),
        BadModule,
        "decoder-en/1: weights.safetensors cannot be read",
    ),
    "weights that are none": Spoiling(
        DECODER,
        lambda store: edit_file(
            store, DECODER, WEIGHTS, lambda old: b"hello" * len(old), known=True
        ),
        BadModule,
        "decoder-en/1: not a safetensors file",
    ),
    "a weight that is not a number": Spoiling(
        DECODER,
        lambda store: edit_file(
            store,
            DECODER,
            WEIGHTS,
            edit_tensors(lambda tensors: tensors["norm.weight"].fill_(float("nan"))),
            known=True,
        ),
        BadModule,
        "decoder-en/1: weights are not finite",
    ),
    "a scale that is infinite": Spoiling(
        DECODER,
        lambda store: edit_file(
            store,
            DECODER,
            WEIGHTS,
            edit_tensors(lambda tensors: tensors["embedding.weight.scale"].fill_(float("inf"))),
            known=True,
        ),
        BadModule,
        "decoder-en/1: weights are not finite",
    ),
    "a weight too few": Spoiling(
        DECODER,
        lambda store: edit_file(
            store, DECODER, WEIGHTS, edit_tensors(lambda t: t.pop("output_bias")), known=True
        ),
        BadModule,
        "weights do not fit the card's architecture: .*output_bias",
    ),
    "a weight too many": Spoiling(
        DECODER,
        lambda store: edit_file(
            store,
            DECODER,
            WEIGHTS,
            edit_tensors(lambda t: t.update(stranger=torch.ones(1))),
            known=True,
        ),
        BadModule,
        "weights do not fit the card's architecture: .*stranger",
    ),
    "no tokeniser": Spoiling(
        GERMAN,
        lambda store: (folder_of(store, GERMAN) / "source.model").unlink(),
        BadModule,
        "text-de/1: source.model cannot be read",
    ),
    "no tokeniser on the card": Spoiling(
        GERMAN,
        lambda store: edit_card(
            store, GERMAN, lambda card: replace(card, weights={WEIGHTS: card.weights[WEIGHTS]})
        ),
        BadModule,
        "text-de/1: its card lists no source.model",
    ),
    "a tokeniser that is none": Spoiling(
        GERMAN,
        lambda store: edit_file(store, GERMAN, "source.model", lambda _: b"hello", known=True),
        BadModule,
        "source.model is no sentencepiece model",
    ),
    "another tokeniser": Spoiling(
        GERMAN,
        lambda store: edit_file(
            store,
            GERMAN,
            "source.model",
            lambda _: (store / "en/1/pieces.model").read_bytes(),
            known=True,
        ),
        BadModule,
        f"source.model has {NUM_CLASSES} pieces, its card says 44",
    ),
    "no weights on the card": Spoiling(
        DECODER,
        lambda store: edit_card(store, DECODER, lambda card: replace(card, weights={})),
        BadModule,
        "decoder-en/1: its card lists no weights.safetensors",
    ),
    "a card that is no TOML": Spoiling(
        SPEECH, card_text("name = ", "name: "), BadModule, "card.toml is not TOML"
    ),
    "a card that is no text": Spoiling(
        SPEECH,
        lambda store: (folder_of(store, SPEECH) / "card.toml").write_bytes(b"\xff\xfe\x00"),
        BadModule,
        "speech-en/1: card.toml is not UTF-8",
    ),
    "an unknown key on the card": Spoiling(
        SPEECH, card_text("name = ", "nickname = 1\nname = "), BadModule, "nickname is not a known"
    ),
    "an unknown size of the network": Spoiling(
        SPEECH,
        card_text("[architecture]\n", "[architecture]\ndepth = 3\n"),
        BadModule,
        "speech-en/1: architecture: .*unexpected keyword argument 'depth'",
    ),
    "a size that cannot be": Spoiling(
        SPEECH, card_text("num_heads = 2", "num_heads = 3"), BadModule, "not a multiple of 3 heads"
    ),
    "a window that no stream can see": Spoiling(
        SPEECH, card_text("left_pairs = 4", "left_pairs = 40"), BadModule, "a stream keeps one"
    ),
    "the card of another module": Spoiling(
        SPEECH,
        lambda store: shutil.copy(
            folder_of(store, DECODER) / "card.toml", folder_of(store, SPEECH) / "card.toml"
        ),
        BadModule,
        "speech-en/1: its card is that of decoder-en/1",
    ),
    "another chunk on the card": Spoiling(
        SPEECH,
        card_text(f"chunk_samples = {SPEECH_SHAPE.chunk_samples}", "chunk_samples = 1600"),
        BadModule,
        "its card says 1600 samples a chunk",
    ),
    "another vocabulary": Spoiling(
        DECODER,
        lambda store: edit_card(
            store,
            DECODER,
            lambda card: replace(card, contract=replace(card.contract, fingerprint="0" * 16)),
        ),
        VocabularyMismatch,
        "decoder-en/1 was trained on vocabulary 0000000000000000, but en/1 in this store is",
    ),
    "another number of classes": Spoiling(
        DECODER,
        lambda store: edit_card(
            store,
            DECODER,
            lambda card: replace(card, contract=replace(card.contract, num_classes=41)),
        ),
        VocabularyMismatch,
        "its card says 41 classes with blank 0, but en/1 has 40",
    ),
    "a changed vocabulary": Spoiling(
        DECODER,
        lambda store: edit_vocabulary(store, lambda old: old.replace('"e"', '"é"')),
        BadModule,
        "vocabulary en/1 cannot be used: .*was changed after it was written",
    ),
    "a vocabulary that is none": Spoiling(
        DECODER,
        lambda store: edit_vocabulary(store, lambda _: "[]"),
        BadModule,
        "vocabulary en/1 cannot be used",
    ),
    "no vocabulary": Spoiling(
        DECODER,
        lambda store: (store / "en/1/vocabulary.json").unlink(),
        BadModule,
        "vocabulary en/1 cannot be used: .*No such file",
    ),
}


def edit_vocabulary(store: Path, change: Callable[[str], str]) -> None:
    path = store / "en/1/vocabulary.json"
    new = change(path.read_text("utf-8"))
    assert new != path.read_text("utf-8")
    path.write_text(new, "utf-8")


@pytest.mark.parametrize("spoiling", SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_module_is_refused_with_its_reason(store, spoiling):
    spoiling.spoil(store)
    with pytest.raises(spoiling.error, match=spoiling.said) as caught:
        load_module(store, spoiling.ref)
    assert type(caught.value) is spoiling.error


def test_a_card_is_read_without_its_weights(store):
    (folder_of(store, GERMAN) / WEIGHTS).unlink()
    assert read_card(store, GERMAN).source_language == "de"
