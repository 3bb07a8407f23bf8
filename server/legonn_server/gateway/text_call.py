"""What a ``TranslationConfig`` asks for, checked field by field."""

from __future__ import annotations

from dataclasses import dataclass

from legonn.v1 import translation_service_pb2 as pb
from legonn_core.errors import BadConfig, LegonnError
from legonn_core.runtime.messages import Phrase
from legonn_server.gateway import convert, wishes
from legonn_server.gateway.interceptors.errors import status_number
from legonn_server.language.glossary import Glossary
from legonn_server.language.masking import WordStyle
from legonn_server.routing.routes import Modality, RouteKey, route_key
from legonn_server.session.text_policy import CommitRule, FinalsOnly, LocalAgreement, WaitK


@dataclass(frozen=True, slots=True)
class TextCall:
    """A checked ``TranslationConfig``.

    Attributes:
        key: What to route by.
        rule: What of an unfinished segment is settled; None: no partials are wanted.
        append_only: Show settled text only.
        phrases: Text that is likely in the translation.
        glossary: Terms with one right rendering.
        style: How words are shown.
        resolved: The config with its defaults filled in, for ``started``.
    """

    key: RouteKey
    num_best: int
    wants_confidence: bool
    rule: CommitRule | None
    append_only: bool
    phrases: tuple[Phrase, ...]
    glossary: Glossary
    style: WordStyle
    resolved: pb.TranslationConfig


def text_call(config: pb.TranslationConfig) -> TextCall:
    """Check a config.

    Raises:
        BadConfig: If a field holds nonsense; the message names it.
    """
    if not config.source_language_code:
        raise BadConfig("source_language_code is missing")
    resolved = pb.TranslationConfig()
    resolved.CopyFrom(config)
    resolved.target_language_code = config.target_language_code or "en"
    resolved.max_alternatives = convert.alternatives(config.max_alternatives)
    rule = _rule(resolved.streaming)
    key = route_key(
        Modality.TEXT,
        resolved.source_language_code,
        resolved.target_language_code,
        model=config.model,
    )
    return TextCall(
        key=key,
        num_best=resolved.max_alternatives,
        wants_confidence=config.enable_word_confidence,
        rule=rule if config.interim_results else None,
        append_only=resolved.streaming.append_only,
        phrases=wishes.phrases(config.phrases),
        glossary=Glossary(wishes.terms(config.glossary), language=key.source),
        style=WordStyle(masks_coarse=config.mask_profanity),
        resolved=resolved,
    )


def _rule(asked: pb.TextStreaming) -> CommitRule:
    """The rule that is asked for; writes the defaults that it took into ``asked``."""
    asked.policy = asked.policy or pb.COMMIT_POLICY_LOCAL_AGREEMENT
    match asked.policy:
        case pb.COMMIT_POLICY_LOCAL_AGREEMENT:
            return LocalAgreement(_agreement(asked))
        case pb.COMMIT_POLICY_LATENCY_BUDGET:
            if not asked.HasField("max_delay"):
                asked.max_delay.FromMilliseconds(2_000)
            delay_ms = asked.max_delay.ToMilliseconds()
            if not 100 <= delay_ms <= 30_000:
                raise BadConfig("streaming.max_delay lies in [0.1 s, 30 s]")
            return LocalAgreement(_agreement(asked), max_delay_s=delay_ms / 1_000)
        case pb.COMMIT_POLICY_WAIT_K:
            asked.wait_words = asked.wait_words or 3
            if not 1 <= asked.wait_words <= 20:
                raise BadConfig(f"streaming.wait_words is {asked.wait_words}; it lies in [1, 20]")
            return WaitK(asked.wait_words)
        case pb.COMMIT_POLICY_FINALS_ONLY:
            if asked.append_only:
                raise BadConfig(
                    "streaming.append_only with COMMIT_POLICY_FINALS_ONLY would show nothing"
                )
            return FinalsOnly()
    raise BadConfig(f"streaming.policy {asked.policy} is not known")


def _agreement(asked: pb.TextStreaming) -> int:
    asked.agreement = asked.agreement or 2
    if not 2 <= asked.agreement <= 5:
        raise BadConfig(f"streaming.agreement is {asked.agreement}; it lies in [2, 5]")
    return asked.agreement


def item_status(error: LegonnError) -> pb.ItemStatus:
    """An error of one text in a batch."""
    return pb.ItemStatus(
        code=status_number(error),
        reason=f"ERROR_REASON_{error.reason}",
        message=error.message,
    )
