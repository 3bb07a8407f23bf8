"""Everything in the gateway that can wait or is kept, with its bound: what docs/behaviour.md lists.

A test compares this list with the queues in the code: one that is added there and not here fails.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queue:
    """One place where things wait.

    Attributes:
        name: What waits.
        home: File and attribute, as ``gateway/outbox.py:_waiting``.
        bound: A setting, or a number with its unit.
        metric: What shows how full it is, without the prefix ``legonn_``.
        when_full: What happens then.
    """

    name: str
    home: str
    bound: str
    metric: str
    when_full: str


QUEUES = (
    Queue(
        "audio of a stream before its encoder",
        "gateway/stream.py:_work",
        "`limits.max_pending_seconds`; one call of a stream is in flight",
        "stream_lag_seconds",
        "the stream is read no further; HTTP/2 or TCP holds its sender back",
    ),
    Queue(
        "audio of a stream since its last final, kept to be heard again",
        "session/machine.py:_buffer",
        "`endpoint.max_segment_ms` and `limits.max_pending_seconds` together: 1.8 MB",
        "ring_bytes",
        "the segment ends with a final, or the stream is read no further",
    ),
    Queue(
        "flushes of a stream whose audio is not encoded yet",
        "session/machine.py:_marks",
        "64",
        "stream_lag_seconds",
        "the stream is read no further",
    ),
    Queue(
        "flushes whose latency is being measured",
        "gateway/stream.py:_flushed_at",
        "64",
        "flush_latency_seconds",
        "the oldest is not measured",
    ),
    Queue(
        "arrivals of audio whose latency is being measured",
        "gateway/arrivals.py:_kept",
        "fixed number of messages",
        "partial_latency_seconds",
        "the oldest is not measured",
    ),
    Queue(
        "stages of a traced call",
        "telemetry/traces.py:_stages",
        "512",
        "rpc_completed_total",
        "the oldest is not in the trace",
    ),
    Queue(
        "answers to a caller",
        "gateway/outbox.py:_waiting",
        "`limits.max_unsent_answers`",
        "unsent_answers",
        "a partial takes the place of the one before; at the bound the stream ends with QUEUE_FULL",
    ),
    Queue(
        "segments of a text stream without their final",
        "session/text_machine.py:_ended",
        "`limits.max_text_characters`; empty ones by `limits.small_messages_per_second`",
        "text_characters_total",
        "the stream is read no further",
    ),
    Queue(
        "texts before the decoder",
        "pools/decoder_pool.py:_num_waiting",
        "`decoder_pool.max_waiting`, behind `decoder_pool.max_in_flight`",
        "decoder_waiting_jobs",
        "the text is refused with QUEUE_FULL; live speech never waits here",
    ),
    Queue(
        "segments to be compared with a shadow",
        "pools/shadowing.py:_waiting",
        "4",
        "shadow_segments_total",
        "the segment is not compared, and counted as dropped",
    ),
    Queue(
        "changes of modules for one watcher",
        "pools/watching.py:queue",
        "256",
        "rpc_started_total",
        "what waits is dropped; the watcher is told, and gets everything anew",
    ),
    Queue(
        "answers to repeated changes of modules",
        "gateway/repeats.py:_answers",
        "1,000, each for ten minutes",
        "rpc_completed_total",
        "the oldest is forgotten",
    ),
    Queue(
        "translations of earlier sentences",
        "gateway/response_cache.py:_entries",
        "`cache.max_entries` and `cache.max_characters`",
        "response_cache_total",
        "the longest unused goes",
    ),
)
