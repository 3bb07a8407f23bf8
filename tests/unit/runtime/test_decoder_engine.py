from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from legonn_core.decoders.prepared import Precision
from legonn_core.errors import (
    BadConfig,
    BrokenInvariant,
    DeadlineMissed,
    EncodingMismatch,
    LegonnError,
    LimitExceeded,
    QueueFull,
    VocabularyMismatch,
)
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.runtime.decoder_engine import PEAKS, DecoderEngine
from legonn_core.runtime.messages import DecodeJob, DecodeKind, DecodeResult
from legonn_core.runtime.plan import Limits
from legonn_core.search.joint import JointSettings
from tests.support.simple_search import SimpleSearch
from tests.support.tiny import DECODER, NUM_CLASSES


@pytest.fixture
def engine(decoder_module) -> DecoderEngine[str]:
    return DecoderEngine(decoder_module)


@pytest.fixture
def fingerprint(decoder_module) -> str:
    return decoder_module.card.contract.fingerprint


def marginals(count: int, fingerprint: str, *, seed: int = 0, first: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((count, NUM_CLASSES))
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    block = Marginals.from_dense(
        log_probs.astype(np.float32),
        8,
        times_ms=40 + 80 * np.arange(first, first + count),
        fingerprint=fingerprint,
        first_position=first,
    )
    return codec.encode(block)


def run(engine: DecoderEngine[str], jobs: dict[str, DecodeJob]) -> dict[str, DecodeResult]:
    """Submit all, step until nothing is left."""
    for key, job in jobs.items():
        engine.submit(key, job)
    found: dict[str, DecodeResult] = {}
    while engine.num_jobs:
        for key, answer in engine.step():
            if isinstance(answer, LegonnError):
                raise answer
            assert key not in found
            found[key] = answer
    return found


def one(engine: DecoderEngine[str], job: DecodeJob) -> DecodeResult:
    return run(engine, {"it": job})["it"]


def by_hand(module, job: DecodeJob) -> list[tuple[tuple[int, ...], float]]:
    """One request, token by token, forced ones too: what the engine's shortcuts must equal."""
    block = Marginals.concatenate([codec.decode(data) for data in job.marginals])
    settings = JointSettings(
        beam=job.beam,
        ctc_weight=job.ctc_weight or 0.0,
        num_best=job.num_best,
        length_bonus=0.0,
        peaks=PEAKS,
    )
    search = SimpleSearch(settings, block.dense(NUM_CLASSES), forced=job.forced)
    network, found = module.network, search.start()
    with torch.no_grad():
        ids = torch.from_numpy(block.ids.astype(np.int64))[None]
        probs, tail = torch.from_numpy(np.exp(block.log_probs))[None], torch.from_numpy(block.tail)
        lengths = torch.tensor([len(block)])
        read = network.ingestor.read_sparse(ids, probs, tail[None], lengths)
        memory = network.remember(read.mixture, read.lengths)
        state = network.start(1, job.beam)
        while not found.is_done:
            log_probs, state = network.step(torch.from_numpy(found.last_tokens), memory, state)
            found = search.advance(found, log_probs.numpy())
            state = state.reorder(torch.from_numpy(found.parents))
    return [(hypothesis.tokens, hypothesis.score) for hypothesis in search.finish(found)]


def jobs_of_all_kinds(fingerprint: str) -> dict[str, DecodeJob]:
    def job(count: int, seed: int, **more: object) -> DecodeJob:
        return DecodeJob(
            DECODER,
            (marginals(count, fingerprint, seed=seed),),
            ctc_weight=0.3,
            length_bonus=0.0,
            **more,
        )

    return {
        "short": job(4, 1, beam=3),
        "long": job(30, 2, beam=3),
        "other beam": job(9, 3, beam=2, num_best=2),
        "forced": job(14, 4, beam=3, forced=(5, 9, 9, 12)),
        "forced more": job(11, 5, beam=3, forced=(7, 30, 2, 2, 8), kind=DecodeKind.COMMIT),
        "forced alike": job(18, 6, beam=3, forced=(8, 9, 3, 11)),
        "too much forced": job(2, 7, beam=3, forced=(5, 9, 9, 12, 4, 4)),
        "commit": job(12, 8, beam=3, kind=DecodeKind.COMMIT),
        "text": job(21, 9, beam=3, num_best=3, kind=DecodeKind.TEXT),
    }


def test_requests_together_equal_each_alone_and_by_hand(engine, decoder_module, fingerprint):
    jobs = jobs_of_all_kinds(fingerprint)
    together = run(engine, jobs)
    assert together.keys() == jobs.keys()
    for key, job in jobs.items():
        tokens = [hypothesis.tokens for hypothesis in together[key].hypotheses]
        alone = one(DecoderEngine(decoder_module), job)
        assert tokens == [hypothesis.tokens for hypothesis in alone.hypotheses], key
        expected = by_hand(decoder_module, job)
        assert tokens == [tokens for tokens, _ in expected], key
        scores = [hypothesis.score for hypothesis in together[key].hypotheses]
        assert scores == pytest.approx([score for _, score in expected], abs=1e-4), key
        assert all(found[: len(job.forced)] == job.forced for found in tokens), key


def test_requests_may_join_while_others_run(engine, decoder_module, fingerprint):
    jobs = jobs_of_all_kinds(fingerprint)
    found: dict[str, DecodeResult] = {}
    for key, job in jobs.items():
        engine.submit(key, job)
        found |= dict(engine.step())
    while engine.num_jobs:
        found |= dict(engine.step())
    together = run(DecoderEngine(decoder_module), jobs)
    assert found.keys() == together.keys()
    for key, answer in found.items():
        expected = [hypothesis.tokens for hypothesis in together[key].hypotheses]
        assert [hypothesis.tokens for hypothesis in answer.hypotheses] == expected, key


def test_more_requests_than_a_step_holds(engine, fingerprint):
    job = DecodeJob(DECODER, (marginals(5, fingerprint),), beam=2)
    count = Limits().max_rows // 2 + 5
    found = run(engine, {str(i): job for i in range(count)})
    assert len(found) == count
    assert len({answer.hypotheses[0].tokens for answer in found.values()}) == 1


def test_finals_come_before_commits(engine, fingerprint):
    block = (marginals(20, fingerprint),)
    engine.submit("commit", DecodeJob(DECODER, block, kind=DecodeKind.COMMIT))
    engine.step()
    engine.submit("final", DecodeJob(DECODER, block))
    order = []
    while engine.num_jobs:
        order += [key for key, _ in engine.step()]
    assert order == ["final", "commit"]


def test_a_hypothesis_has_words_with_times(engine, decoder_module, fingerprint):
    job = DecodeJob(DECODER, (marginals(16, fingerprint, seed=3),), row_ms=80.0, num_best=2)
    for found in one(engine, job).hypotheses:
        assert found.text == decoder_module.vocabulary.text(found.tokens)
        assert sum(word.num_tokens for word in found.words) == len(found.tokens)
        assert " ".join(word.text for word in found.words if word.text) == found.text
        times = [time for word in found.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert 0 <= times[0] <= times[-1] <= 16 * 80
        assert 0.0 <= found.confidence <= 1.0


def test_blocks_join_to_one_segment(engine, fingerprint):
    whole = codec.decode(marginals(12, fingerprint, seed=6))
    parts = tuple(codec.encode(whole.slice(a, b)) for a, b in ((0, 5), (5, 5), (5, 12)))
    job = DecodeJob(DECODER, (codec.encode(whole),))
    assert one(engine, job).hypotheses[0].tokens == (
        one(engine, replace(job, marginals=parts)).hypotheses[0].tokens
    )


def test_rows_from_max_row_on_are_not_read(engine, fingerprint):
    whole = codec.decode(marginals(12, fingerprint, seed=6))
    first = DecodeJob(DECODER, (codec.encode(whole.slice(0, 7)),))
    limited = DecodeJob(DECODER, (codec.encode(whole),), max_row=7)
    assert one(engine, limited) == one(engine, first)
    assert one(engine, replace(limited, max_row=99)) == one(engine, replace(limited, max_row=None))


@pytest.mark.parametrize("forced", [(), (5, 9)])
@pytest.mark.parametrize("kind", ["no blocks", "empty block", "max_row"])
def test_no_rows_say_what_is_forced_and_nothing_more(
    engine, decoder_module, fingerprint, forced, kind
):
    blocks = {
        "no blocks": (),
        "empty block": (codec.encode(Marginals.empty(8, fingerprint=fingerprint)),),
        "max_row": (marginals(4, fingerprint),),
    }[kind]
    max_row = 0 if kind == "max_row" else None
    (found,) = one(engine, DecodeJob(DECODER, blocks, forced=forced, max_row=max_row)).hypotheses
    assert found.tokens == forced
    assert found.text == decoder_module.vocabulary.text(forced)
    assert sum(word.num_tokens for word in found.words) == len(forced)


def test_a_cancelled_request_is_forgotten(engine, fingerprint):
    job = DecodeJob(DECODER, (marginals(20, fingerprint),), beam=2)
    waiting, other = replace(job, beam=3), replace(job, marginals=(marginals(9, fingerprint),))
    for key, entry in (("kept", job), ("left", other), ("waits", waiting)):
        engine.submit(key, entry)
    engine.step()
    engine.cancel({"left", "waits", "nobody"})
    assert engine.num_jobs == 1
    assert run(engine, {}).keys() == {"kept"}
    engine.submit("gone", job)
    engine.step()
    engine.cancel({"gone"})
    assert engine.num_jobs == 0
    assert engine.step() == []
    assert one(engine, job) == one(engine, job)


def test_the_first_of_a_batch_may_be_cancelled(engine, fingerprint):
    """The last one takes its place, so rows move."""
    job = DecodeJob(DECODER, (marginals(20, fingerprint),), beam=2)
    other = replace(job, marginals=(marginals(9, fingerprint),))
    alone = one(engine, other)
    for key, entry in (("left", job), ("kept", other)):
        engine.submit(key, entry)
    engine.step()
    engine.cancel({"left"})
    found = run(engine, {})
    assert found.keys() == {"kept"}
    assert found["kept"].hypotheses[0].tokens == alone.hypotheses[0].tokens


def test_a_job_that_cannot_be_done_is_refused_and_harms_no_other(engine, fingerprint):
    good = DecodeJob(DECODER, (marginals(6, fingerprint),), beam=2)
    changed = marginals(6, fingerprint)
    wide = Marginals.from_dense(
        np.full((3, 50), -np.log(50), np.float32), 50, times_ms=range(3), fingerprint=fingerprint
    )
    bad: dict[str, tuple[DecodeJob, type[LegonnError], str]] = {
        "words": (replace(good, marginals=(marginals(6, "other"),)), VocabularyMismatch, "other"),
        "bytes": (replace(good, marginals=(changed[:-1],)), EncodingMismatch, "damaged"),
        "classes": (replace(good, marginals=(codec.encode(wide),)), EncodingMismatch, "class"),
        "gap": (
            replace(good, marginals=(*good.marginals, marginals(2, fingerprint, first=9))),
            BrokenInvariant,
            "do not join",
        ),
        "long": (replace(good, marginals=(marginals(300, fingerprint),)), LimitExceeded, "256"),
        "no beam": (replace(good, beam=0), BadConfig, "beam must be 1 to 16"),
        "beam": (replace(good, beam=17), BadConfig, "beam must be 1 to 16"),
        "best": (replace(good, num_best=3), BadConfig, "at least num_best"),
        "weight": (replace(good, ctc_weight=1.5), BadConfig, "ctc_weight=1.5"),
        "bonus": (replace(good, length_bonus=float("nan")), BadConfig, "length_bonus=nan"),
        "blank": (replace(good, forced=(3, 0)), BadConfig, "a forced token is the blank"),
        "forced": (replace(good, forced=(3, NUM_CLASSES)), BadConfig, "outside the vocabulary"),
    }
    engine.submit("first", good)
    for key, (job, _, _) in bad.items():
        engine.submit(key, job)
    engine.submit("last", good)
    found: dict[str, object] = {}
    while engine.num_jobs:
        found |= dict(engine.step())
    assert found["first"] == found["last"]
    assert isinstance(found["first"], DecodeResult)
    for key, (_, error, said) in bad.items():
        assert type(found[key]) is error, key
        assert said in str(found[key]), key


def test_the_card_says_how_to_search_unless_the_job_does(decoder_module, fingerprint):
    job = DecodeJob(DECODER, (marginals(15, fingerprint, seed=2),), beam=3)
    plain = one(DecoderEngine(decoder_module), replace(job, ctc_weight=0.9, length_bonus=0.5))
    decoding = replace(decoder_module.card.decoding, ctc_weight=0.9, length_bonus=0.5)
    other = replace(decoder_module, card=replace(decoder_module.card, decoding=decoding))
    assert one(DecoderEngine(other), job) == plain
    assert one(DecoderEngine(decoder_module), job) != plain


def test_forced_text_is_forced_as_tokens(engine, decoder_module, fingerprint):
    vocabulary = decoder_module.vocabulary
    text = vocabulary.text((5, 9, 9, 12))
    job = DecodeJob(DECODER, (marginals(14, fingerprint, seed=4),), beam=3, forced_text=text)
    spelled = replace(job, forced_text="", forced=vocabulary.spell(text))
    found = one(engine, job)
    assert found == one(engine, spelled)
    assert found.hypotheses[0].text.startswith(text)


def test_text_beyond_the_vocabulary_cannot_be_forced(engine, fingerprint):
    job = DecodeJob(DECODER, (marginals(14, fingerprint),), forced_text="\u4e2d\u6587")
    with pytest.raises(BadConfig, match="vocabulary"):
        one(engine, job)


def test_a_job_that_waited_too_long_is_dropped_and_a_full_queue_refuses(
    decoder_module, fingerprint
):
    now = [0.0]
    limits = Limits(max_rows=2, max_waiting=dict.fromkeys(DecodeKind, 2))
    engine: DecoderEngine[str] = DecoderEngine(decoder_module, limits=limits, clock=lambda: now[0])
    job = DecodeJob(DECODER, (marginals(6, fingerprint),), beam=2)
    engine.submit("running", job)
    assert engine.step() == []
    engine.submit("late", replace(job, timeout_s=1.0))
    engine.submit("patient", job)
    engine.submit("refused", job)
    assert engine.num_jobs == 4
    now[0] = 2.0
    found: dict[str, object] = {}
    while engine.num_jobs:
        found |= dict(engine.step())
    assert isinstance(found["late"], DeadlineMissed)
    assert isinstance(found["refused"], QueueFull)
    assert "try again in" in str(found["refused"])
    assert found["running"] == found["patient"]


def test_live_work_goes_before_text_that_is_under_way(engine, fingerprint):
    block = (marginals(20, fingerprint),)
    for number in range(4):
        engine.submit(f"bulk {number}", DecodeJob(DECODER, block, kind=DecodeKind.BULK))
    engine.step()
    engine.submit("commit", DecodeJob(DECODER, block, kind=DecodeKind.COMMIT, beam=2))
    engine.submit("final", DecodeJob(DECODER, block))
    order = []
    while engine.num_jobs:
        order += [key for key, _ in engine.step()]
    assert order[:2] == ["final", "commit"]
    assert len(order) == 6


def test_eight_bits_answer_like_float32(decoder_module, fingerprint):
    job = DecodeJob(DECODER, (marginals(14, fingerprint, seed=5),), beam=3, length_bonus=0.0)
    exact = one(DecoderEngine(decoder_module), job).hypotheses[0]
    rough = one(DecoderEngine(decoder_module, precision=Precision.INT8), job).hypotheses[0]
    assert rough.score == pytest.approx(exact.score, rel=0.05)
