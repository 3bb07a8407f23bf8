"""The experiments on real modules: recognition, translation, the swap matrix, the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from legonn_core.evaluate.controls import Condition
from legonn_core.evaluate.material import Material
from legonn_core.evaluate.pipeline import Wire, search, settings_of, surprise, text_rows
from legonn_core.evaluate.reading import by_decoder_alone, carried, changed, read_off, said_again
from legonn_core.evaluate.result import Cell
from legonn_core.interface.contract import check
from legonn_core.modules.registry import LoadedModule
from legonn_core.scoring.latency import erased_words, lagging, mean_lagging, normalized_erasure
from legonn_core.scoring.scores import NUM_RESAMPLES, SEED, Score
from legonn_core.search.prefix import PrefixSearch
from legonn_core.train.text_data import EnglishPieces

Report = Callable[[str], None]


def texts(module: LoadedModule, found: Sequence[tuple[int, ...]]) -> list[str]:
    """Words of token sequences."""
    return [module.vocabulary.text(tokens) for tokens in found]


def plain(material: Material, decoder: LoadedModule, wire: Wire) -> list[Cell]:
    """What the rows say by themselves, and what the product says of them."""
    check(material.encoder.card.contract, decoder.card.contract)
    greedy = texts(material.encoder, [read_off(rows) for rows in material.rows])
    sent = [carried(wire, rows, decoder) for rows in material.rows]
    joint = texts(decoder, search(decoder, sent, settings_of(decoder, material.encoder)))
    return [
        *_cells(material, "–", "greedy", greedy),
        *_cells(material, str(decoder.ref), "joint search", joint),
    ]


def streamed(material: Material, wire: Wire) -> list[Cell]:
    """How late and how restless the partial captions of a speech encoder are.

    A word counts as written with the chunk from which on it stays; computing takes no time here.
    """
    module = material.encoder
    assert module.card.chunk is not None
    seconds = module.card.chunk.chunk_samples / module.card.chunk.sample_rate_hertz
    lags, erased, words = [], [], []
    for rows, counts, wanted in zip(
        material.rows, material.chunk_rows, material.references, strict=True
    ):
        block, engine = carried(wire, rows, module), PrefixSearch()
        state, shown, start = engine.start(), [], 0
        for count in counts:
            state = engine.advance(state, block.slice(start, start + count))
            start += count
            shown.append(module.vocabulary.text(engine.best(state).tokens).split())
        delays = [seconds * (settled + 1) for settled in settled_at(shown)]
        lags.append(
            lagging(
                delays, source_length=seconds * len(counts), reference_words=len(wanted.split())
            )
        )
        erased.append(erased_words(shown))
        words.append(len(shown[-1]))
    scores = [mean_lagging(lags, unit="s")]
    if sum(words):
        scores.append(normalized_erasure(erased, words))
    name = str(module.ref)
    return [Cell(name, "–", "partials", material.name, len(lags), score) for score in scores]


def retranslated(material: Material, wire: Wire) -> list[Cell]:
    """How late and how restless a translation is that is made anew with every source word.

    A word counts as written with the source word from which on it stays (legonn.md, section 7.9:
    re-translation); what the rows say is read off by prefix search, as partials are.
    """
    module, engine = material.encoder, PrefixSearch()
    lags, erased, words = [], [], []
    for source, wanted in zip(material.sources, material.references, strict=True):
        read = source.split()
        prefixes = [" ".join(read[:count]) for count in range(1, len(read) + 1)]
        shown = []
        for rows in text_rows(module, prefixes):
            state = engine.advance(engine.start(), carried(wire, rows, module))
            shown.append(module.vocabulary.text(engine.best(state).tokens).split())
        if not shown:
            continue
        delays = [float(settled + 1) for settled in settled_at(shown)]
        lags.append(lagging(delays, source_length=len(read), reference_words=len(wanted.split())))
        erased.append(erased_words(shown))
        words.append(len(shown[-1]))
    scores = [mean_lagging(lags, unit="source words")] if lags else []
    if sum(words):
        scores.append(normalized_erasure(erased, words))
    name = str(module.ref)
    return [Cell(name, "–", "re-translation", material.name, len(lags), score) for score in scores]


def settled_at(shown: Sequence[Sequence[str]]) -> list[int]:
    """For each word of the last version, the first version from which on it and all before stay."""
    if not shown:
        return []
    final = list(shown[-1])
    kept = []  # how much of the final text each version begins with, and all later ones too
    least = len(final)
    for version in reversed(shown):
        pairs = zip(version, final, strict=False)  # the shorter one ends it
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        least = min(least, same)
        kept.append(least)
    kept.reverse()
    return [
        next(place for place, same in enumerate(kept) if same > word) for word in range(len(final))
    ]


def swap_matrix(
    materials: Sequence[Material], decoders: Sequence[LoadedModule], wire: Wire, report: Report
) -> list[Cell]:
    """Every encoder under every decoder, by the decoder alone and with every control."""
    cells: list[Cell] = []
    for material in materials:
        for place, decoder in enumerate(decoders):
            both = plain(material, decoder, wire)
            cells += both if place == 0 else [c for c in both if c.condition != "greedy"]
            for condition in Condition:
                rows = changed(condition, material.rows, seed=7)
                read = texts(decoder, by_decoder_alone(decoder, rows, wire))
                cells += _cells(material, str(decoder.ref), condition.value, read)
            again = [said_again(read_off(rows), rows.shape[1]) for rows in material.rows]
            read = texts(decoder, by_decoder_alone(decoder, again, wire))
            cells += _cells(material, str(decoder.ref), "cascade of best texts", read)
            report(f"{material.name}: {material.encoder.ref} under {decoder.ref}")
    return cells


def wire_cells(
    material: Material,
    decoder: LoadedModule,
    *,
    wires: Sequence[Wire],
    pieces: EnglishPieces,
    report: Report,
) -> list[Cell]:
    """Quality against what crosses, and the decoder's surprise at the references."""
    settings = settings_of(decoder, material.encoder)
    encoded = [pieces.encode(text) for text in material.references]
    known = [index for index, target in enumerate(encoded) if target]
    targets = [encoded[index] or () for index in known]
    cells: list[Cell] = []
    for wire in wires:
        sent = [carried(wire, rows, decoder) for rows in material.rows]
        cells += _cells(
            material, str(decoder.ref), str(wire), texts(decoder, search(decoder, sent, settings))
        )
        nats = surprise(decoder, [sent[index] for index in known], targets)
        tokens = np.array([len(target) + 1 for target in targets], dtype=np.float64)
        score = _per_token(nats, tokens)
        name = str(material.encoder.ref)
        cells.append(Cell(name, str(decoder.ref), str(wire), material.name, len(known), score))
        report(f"{material.name}: {wire}")
    return cells


def _per_token(nats: NDArray[np.float64], tokens: NDArray[np.float64]) -> Score:
    draws = np.random.default_rng(SEED).integers(len(nats), size=(NUM_RESAMPLES, len(nats)))
    means = nats[draws].sum(axis=1) / tokens[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    signature = f"nats a token of the reference|bs:{NUM_RESAMPLES}|seed:{SEED}"
    return Score("surprise", float(nats.sum() / tokens.sum()), float(low), float(high), signature)


def _cells(material: Material, decoder: str, condition: str, read: Sequence[str]) -> list[Cell]:
    name, count = str(material.encoder.ref), len(read)
    return [
        Cell(name, decoder, condition, material.name, count, score)
        for score in material.scores(read)
    ]
