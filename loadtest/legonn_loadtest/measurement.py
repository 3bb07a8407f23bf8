"""Sets through a server: several calls at a time, results in the order of the items."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO, TypeVar

import numpy as np

import legonn
from legonn_core.scoring.scores import normalized, translation_scores, word_error_rate
from legonn_core.scoring.sets import SpeechSet, TextSet, stride
from legonn_loadtest.progress import Progress
from legonn_loadtest.recognition import Heard, hear, is_fatal
from legonn_loadtest.report import Example, Latency, Module, SetResult

BATCH_TEXTS = 32
NUM_EXAMPLES = 50
NUM_NAMED = 20  # failures and broken promises that are named; all are counted

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a set is sent.

    Attributes:
        num_streams: Calls at a time.
        interim_results: Whether partials are asked for.
        is_paced: Whether audio is sent as it is spoken.
        out: Where progress goes.
    """

    num_streams: int
    interim_results: bool
    is_paced: bool
    out: TextIO


async def in_order(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Result]], *, num_workers: int
) -> list[Result]:
    """Do ``work`` on each item, so many at a time; the first error stops all and is raised."""
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def worker() -> None:
        for index, item in waiting:
            results[index] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(num_workers):
                group.create_task(worker())
    except* legonn.LegonnError as errors:
        first = errors.exceptions[0]
    else:
        return [results[index] for index in range(len(items))]
    raise first


async def recognize_set(client: legonn.AsyncClient, speech_set: SpeechSet, plan: Plan) -> SetResult:
    """Stream each recording and score the text.

    Raises:
        LegonnError: If no server answers or none serves the language.
    """
    options = legonn.SpeechOptions(
        language=speech_set.language, interim_results=plan.interim_results
    )
    recordings = speech_set.recordings
    progress = Progress(speech_set.name, len(recordings), out=plan.out)

    async def one(index: int) -> Heard:
        heard = await hear(client, recordings[index], options, is_paced=plan.is_paced)
        progress.advance(1)
        return heard

    began = time.monotonic()
    all_heard = await in_order(range(len(recordings)), one, num_workers=plan.num_streams)
    duration_s = time.monotonic() - began

    texts = [heard.text for heard in all_heard]
    references = [recording.normalized for recording in recordings]
    written = [recording.transcript for recording in recordings]
    scores = [word_error_rate(references, texts)]
    if list(map(normalized, written)) != list(map(normalized, references)):
        # The corpus writes figures and abbreviations, and spells them out beside that.
        scores.append(word_error_rate(written, texts, name="WER (as written)"))
    audio_s = sum(heard.duration_s for heard in all_heard)
    broken = [sentence for heard in all_heard for sentence in heard.broken]
    failures = [heard.failure for heard in all_heard if heard.failure]
    names = [recording.name for recording in recordings]
    return SetResult(
        task="recognition",
        name=speech_set.name,
        language=speech_set.language,
        items=len(recordings),
        num_failed=len(failures),
        num_broken_promises=len(broken),
        scores=tuple(scores),
        duration_s=duration_s,
        audio_s=audio_s,
        real_time_factor=duration_s / audio_s if audio_s and not plan.is_paced else None,
        modules=tuple(sorted(frozenset().union(*(heard.routes for heard in all_heard)))),
        latencies=_latencies(all_heard) if plan.is_paced else (),
        failures=tuple(failures[:NUM_NAMED]),
        broken_promises=tuple(broken[:NUM_NAMED]),
        examples=_examples(names, references, texts),
    )


def _latencies(all_heard: Iterable[Heard]) -> tuple[Latency, ...]:
    heard = list(all_heard)
    firsts = [one.first_partial_s for one in heard if one.first_partial_s is not None]
    found = {
        "first sample to first text": firsts,
        "end of segment to final": [lag for one in heard for lag in one.final_lags_s],
    }
    return tuple(
        Latency(name, len(values), float(np.median(values)), float(np.percentile(values, 95)))
        for name, values in found.items()
        if values
    )


async def translate_set(
    client: legonn.AsyncClient, text_set: TextSet, plan: Plan, *, modules: Sequence[Module]
) -> SetResult:
    """Send the texts in batches and score the translations.

    Raises:
        LegonnError: If no server answers or none serves the language.
    """
    sources = text_set.sources
    batches = [sources[at : at + BATCH_TEXTS] for at in range(0, len(sources), BATCH_TEXTS)]
    progress = Progress(text_set.name, len(sources), out=plan.out)

    async def one(batch: tuple[str, ...]) -> list[str | legonn.LegonnError]:
        answers = await _translate(client, batch, text_set.language)
        progress.advance(len(batch))
        return answers

    began = time.monotonic()
    found = await in_order(batches, one, num_workers=plan.num_streams)
    duration_s = time.monotonic() - began

    results = [answer for answers in found for answer in answers]
    texts = ["" if isinstance(one, legonn.LegonnError) else one for one in results]
    names = [f"row {number}" for number in range(1, len(results) + 1)]
    failures = [
        f"{name}: {one.message}"
        for name, one in zip(names, results, strict=True)
        if isinstance(one, legonn.LegonnError)
    ]
    return SetResult(
        task="translation",
        name=text_set.name,
        language=text_set.language,
        items=len(sources),
        num_failed=len(failures),
        num_broken_promises=0,
        scores=translation_scores(text_set.references, texts),
        duration_s=duration_s,
        audio_s=None,
        real_time_factor=None,
        modules=_translators(modules, text_set.language),
        failures=tuple(failures[:NUM_NAMED]),
        examples=_examples(names, text_set.references, texts),
    )


async def _translate(
    client: legonn.AsyncClient, batch: Sequence[str], language: str
) -> list[str | legonn.LegonnError]:
    try:
        answers = [one async for one in client.translate_each(batch, source=language)]
    except legonn.LegonnError as error:
        if is_fatal(error):
            raise
        return [error] * len(batch)
    if len(answers) != len(batch):
        return [legonn.InternalFault("as many answers as texts were due")] * len(batch)
    return answers


def _translators(modules: Sequence[Module], language: str) -> tuple[str, ...]:
    """Serving versions that a text of this language can have gone through.

    The client gives translations without the versions that made them, so these are the server's.
    """
    serving = [module for module in modules if module.state == "SERVING"]
    encoders = [
        one.ref for one in serving if one.modality == "TEXT" and one.source_language == language
    ]
    decoders = [one.ref for one in serving if one.kind == "DECODER"]
    return tuple(f"{encoder} → {decoder}" for encoder in encoders for decoder in decoders)


def _examples(
    names: Sequence[str], references: Sequence[str], texts: Sequence[str]
) -> tuple[Example, ...]:
    rows = list(zip(names, references, texts, strict=True))
    return tuple(Example(*row) for row in stride(rows, NUM_EXAMPLES))


async def list_modules(client: legonn.AsyncClient) -> tuple[Module, ...]:
    """What the server lists."""
    return tuple(
        Module(
            ref=f"{one.name}/{one.version}",
            kind=one.kind,
            modality=one.modality,
            source_language=one.source_language,
            target_language=one.target_language,
            state=one.state,
            vocabulary=one.vocabulary,
            digest=one.digest,
            num_parameters=one.num_parameters,
        )
        for one in await client.modules()
    )
