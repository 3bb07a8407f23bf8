"""The routes file: read strictly, written so that it reads the same."""

from __future__ import annotations

import pytest

from legonn_core.errors import BadConfig
from legonn_core.runtime.messages import ModuleRef
from legonn_server.routing.routes import Modality, route_key
from legonn_server.routing.routes_file import dump, parse
from legonn_server.routing.trials import is_within

GOOD = """
generation = 3

[[routes]]
modality = "speech"
source = "en-US"
target = "en"
encoder = "speech-en/1"
decoder = "decoder-en/1"

[routes.canary]
encoder = "speech-en/2"
steps = [5, 100]
hold_seconds = 10
[routes.canary.bands]
max_latency_ratio = 1.2

[routes.shadow]
decoder = "decoder-en/2"
percent = 10

[[routes]]
modality = "text"
source = "de"
target = "en"
model = "best"
encoder = "text-de/1"
decoder = "decoder-en/1"
"""


def test_a_file_says_what_serves_what():
    table = parse(GOOD)
    assert table.number == 3
    route = table.find(route_key(Modality.SPEECH, "en", "en"))
    assert route.canary.encoder == ModuleRef("speech-en", "2")
    assert route.canary.decoder == route.decoder
    assert (route.canary.steps, route.canary.bands.max_latency_ratio) == ((5, 100), 1.2)
    assert (route.shadow.encoder, route.shadow.decoder.version) == (route.encoder, "2")
    assert route.shadow.decoder not in table.served
    assert {str(ref) for ref in table.refs} == {
        *("speech-en/1", "speech-en/2", "decoder-en/1", "decoder-en/2", "text-de/1"),
    }


def test_what_is_written_reads_the_same():
    table = parse(GOOD)
    again = parse(dump(table))
    assert again == table
    assert again.content_hash == table.content_hash
    assert parse(GOOD.replace("= 3", "= 4", 1)).content_hash == table.content_hash
    assert parse(GOOD.replace("speech-en/1", "speech-en/9")).content_hash != table.content_hash


BAD = {
    "no toml": ("generation = ", "routes file: "),
    "half of a file": (GOOD[:90], "routes file: "),
    "no routes": ("generation = 1", "routes is missing"),
    "a misspelt key": (GOOD.replace("source", "sorce", 1), "sorce is not a known key"),
    "no generation": (GOOD.replace("generation = 3", ""), "generation is missing"),
    "generation nought": (GOOD.replace("= 3", "= 0"), "at least 1"),
    "a module without version": (GOOD.replace("text-de/1", "text-de"), "name/version"),
    "a language that is none": (GOOD.replace('"de"', '"?"'), "language code"),
    "another modality": (GOOD.replace('"text"', '"smell"'), "not one of speech, text"),
    "steps that fall": (GOOD.replace("[5, 100]", "[50, 5]"), "each above the one before"),
    "the same route twice": (GOOD + GOOD[GOOD.rindex("[[routes]]") :], "routed twice"),
    "a trial of nothing": (GOOD.replace("speech-en/2", "speech-en/1"), "no other module"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_said(text: str, said: str):
    with pytest.raises(BadConfig) as caught:
        parse(text)
    assert said in caught.value.message


def test_a_session_stays_on_its_side_and_shares_are_kept():
    names = [f"s-{number}" for number in range(4_000)]
    inside = {
        percent: {n for n in names if is_within(n, percent, salt="x")} for percent in (1, 10, 50)
    }
    assert inside[1] < inside[10] < inside[50]
    assert 0.07 < len(inside[10]) / len(names) < 0.13
    assert not [name for name in names if is_within(name, 0, salt="x")]
    assert all(is_within(name, 100, salt="x") for name in names)
    assert inside[10] != {n for n in names if is_within(n, 10, salt="y")}
