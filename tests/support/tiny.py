"""Real modules from a seed, made in a second: a store that a server would take.

The networks are untrained, so their text is nonsense, but it is the same nonsense every time;
cards, digests, golden files and tokenisers are what ``legonn train --package`` writes.
"""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from torch import nn

from legonn_core.decoders.decoder import Decoder, DecoderShape
from legonn_core.encoders.speech import SpeechEncoder, SpeechEncoderShape
from legonn_core.encoders.text import TextEncoder, TextEncoderShape
from legonn_core.interface.card import DataSource, DecodingDefaults, ModuleCard, ModuleKind
from legonn_core.interface.reference import ModuleRef
from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.train.package import Packaging, write_module

SPEECH, GERMAN, DECODER = (ModuleRef(name, "1") for name in ("speech-en", "text-de", "decoder-en"))
VOCABULARY = "en/1"
NUM_CLASSES = 40
NUM_SOURCE_PIECES = 44

ENGLISH = (
    "The cat sits on the mat and waits.",
    "A dog runs to the old house on the hill.",
    "She reads the news at noon and sends it on.",
    "It rains in the town, and the sun is not seen.",
    "He has no time to read this note.",
)
GERMAN_TEXT = (
    "Die Katze sitzt auf der Matte und wartet.",
    "Ein Hund rennt zu dem alten Haus.",
    "Sie liest die Nachrichten und sendet sie weiter.",
    "Es regnet in der Stadt, und die Sonne ist nicht da.",
)

SPEECH_SHAPE = SpeechEncoderShape(
    NUM_CLASSES,
    width=16,
    hidden=32,
    num_heads=2,
    layers=2,
    row_width=16,
    row_hidden=32,
    row_heads=2,
    row_layers=2,
    row_kernel=3,
    chunk_rows=4,
    left_chunks=3,
    left_pairs=4,
    right_pairs=4,
    max_chunks=24,
)
TEXT_SHAPE = TextEncoderShape(
    NUM_SOURCE_PIECES,
    NUM_CLASSES,
    width=16,
    hidden=32,
    num_heads=2,
    layers_before=2,
    layers_after=1,
    rows_per_token=2,
    window=4,
    max_tokens=60,
)
DECODER_SHAPE = DecoderShape(
    NUM_CLASSES,
    width=16,
    hidden=32,
    num_heads=2,
    ingestor_layers=1,
    layers=2,
    max_rows=256,
    receptive_field=3,
    blank_limit=0.9,
)


def lively(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """Give every parameter a value of its own: no bias, table or norm stays at its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim < 2 or "bias" in name:
                parameter.copy_(0.2 * noise + float("norm.weight" in name))
            else:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            if name in ("conv1.weight", "conv2.weight"):  # else positions drown what is heard
                parameter.mul_(5.0)
            if name == "head.weight":
                parameter.mul_(4.0)
    return network.eval()


def speech_encoder(*, seed: int = 0, shape: SpeechEncoderShape = SPEECH_SHAPE) -> SpeechEncoder:
    """A speech encoder with steady random weights that hears many classes and some blanks."""
    network = lively(SpeechEncoder(shape), seed=seed)
    assert isinstance(network, SpeechEncoder)
    chunks = shape.max_chunks // 2
    heard = torch.from_numpy(speech(chunks * shape.chunk_samples, seed=seed))[None]
    with torch.no_grad():
        logits = network(heard, torch.tensor([chunks]))[0][0]
        gain = 3.0 / float(logits.std(dim=0).mean())
        network.head.bias.sub_(logits.mean(dim=0)).mul_(gain)
        network.head.weight.mul_(gain)
        network.head.bias[0] += 5.0
    return network


def text_encoder(*, seed: int = 0, shape: TextEncoderShape = TEXT_SHAPE) -> TextEncoder:
    """A text encoder with steady random weights."""
    network = lively(TextEncoder(shape), seed=seed)
    assert isinstance(network, TextEncoder)
    return network


def decoder(*, seed: int = 0, shape: DecoderShape = DECODER_SHAPE) -> Decoder:
    """A decoder with steady random weights."""
    network = lively(Decoder(shape), seed=seed)
    assert isinstance(network, Decoder)
    return network


def speech(num_samples: int, *, seed: int = 0) -> np.ndarray:
    """Something that changes as speech does: tones, hisses and pauses of a tenth of a second."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < num_samples:
        steps = np.arange(rng.integers(800, 3200))
        tone = sum(np.sin(steps * rng.uniform(0.05, 1.5)) for _ in range(3))
        hiss = rng.standard_normal(len(steps)) * rng.choice([0.0, 0.1, 1.0])
        parts.append((tone + hiss) * rng.choice([0.0, 0.01, 0.1, 0.2]))
    return np.concatenate(parts)[:num_samples].clip(-1, 1).astype(np.float32)


def cut_pieces(lines: tuple[str, ...], size: int, *, unknown: str, kind: str) -> bytes:
    """Train a sentencepiece model; returns its bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        unk_id=0,
        unk_piece=unknown,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def write_vocabulary(folder: Path) -> Vocabulary:
    """Write ``vocabulary.json`` and ``pieces.model`` into a folder."""
    folder.mkdir(parents=True)
    pieces = cut_pieces(ENGLISH, NUM_CLASSES, unknown="<blank>", kind="bpe")
    processor = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    tokens = tuple(processor.id_to_piece(i) for i in range(processor.get_piece_size()))
    vocabulary = Vocabulary(VOCABULARY, tokens)
    (folder / "pieces.model").write_bytes(pieces)
    (folder / "vocabulary.json").write_text(vocabulary.to_json(), encoding="utf-8")
    return vocabulary


def write_store(store: Path, *, seed: int = 0) -> Path:
    """Write ``en/1``, ``speech-en/1``, ``text-de/1`` and ``decoder-en/1`` into an empty folder."""
    write_vocabulary(store / VOCABULARY)
    source = store.parent / f"{store.name}-source.model"
    source.write_bytes(cut_pieces(GERMAN_TEXT, NUM_SOURCE_PIECES, unknown="<unk>", kind="bpe"))
    write_tiny(store, SPEECH, speech_encoder(seed=seed))
    write_tiny(store, GERMAN, text_encoder(seed=seed + 1), source=source)
    write_tiny(store, DECODER, decoder(seed=seed + 2))
    return store


def write_tiny(
    store: Path,
    ref: ModuleRef,
    network: SpeechEncoder | TextEncoder | Decoder,
    *,
    source: Path | None = None,
) -> ModuleCard:
    """Package one network as a module version."""
    golden: np.ndarray
    match network:
        case SpeechEncoder():
            kind, language = ModuleKind.SPEECH_ENCODER, "en"
            heard = speech(3 * network.shape.chunk_samples, seed=9)
            golden = (heard * 32767).astype(np.int16)
        case TextEncoder():
            kind, language = ModuleKind.TEXT_ENCODER, ref.name.removeprefix("text-")
            golden = np.arange(1, 12, dtype=np.int32)
        case Decoder():
            kind, language = ModuleKind.DECODER, "en"
            golden = np.arange(1, 9, dtype=np.int32)
    recipe = store.parent / "tiny.toml"
    recipe.write_text('kind = "tiny"\n', encoding="utf-8")
    sizes = asdict(network.shape)
    packaging = Packaging(
        ref=ref,
        kind=kind,
        source_language=language,
        vocabulary=VOCABULARY,
        recipe=recipe,
        data=(DataSource("none", "none"),),
        notes="Random weights, for tests.",
        architecture={k: v for k, v in sizes.items() if k not in ("num_classes", "dropout")},
        golden_input=golden,
        source_model=source,
        decoding=DecodingDefaults(ctc_weight=0.3),
    )
    return write_module(store, packaging, dict(network.named_parameters()))
