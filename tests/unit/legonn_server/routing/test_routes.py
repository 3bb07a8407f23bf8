"""Routes from modules, and routes that are set."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legonn_core.errors import (
    AdmissionRefused,
    BadConfig,
    ContractMismatch,
    ModuleDraining,
    Unavailable,
    UnknownModule,
    UnknownRoute,
    VocabularyMismatch,
)
from legonn_core.runtime.messages import ModuleRef
from legonn_server.backends.fake import fake_modules
from legonn_server.routing.admission import Admission, AdmissionLimits
from legonn_server.routing.routes import (
    Modality,
    Route,
    build_table,
    check_route,
    primary_language,
    route_key,
    version_order,
)

MODULES = fake_modules()
DECODER, SPEECH, GERMAN, _ = MODULES
LOADED = {module.ref: module for module in MODULES}
TRANSCRIBE = route_key(Modality.SPEECH, "en-US", "en")


def versioned(version: str):
    return replace(SPEECH, ref=ModuleRef("speech-en", version))


def test_every_encoder_gets_a_route_to_the_one_decoder():
    table = build_table(MODULES)
    assert table.number == 1
    assert {str(key) for key in table.routes} == {
        "speech en to en", "text de to en", "text ro to en",
    }  # fmt: skip
    assert {route.decoder for route in table.routes.values()} == {DECODER.ref}


def test_the_highest_version_wins_by_value():
    table = build_table([*MODULES, versioned("10"), versioned("9")])
    assert table.find(TRANSCRIBE).encoder.version == "10"
    assert sorted(["2", "10", "beta"], key=version_order) == ["beta", "2", "10"]


def test_an_encoder_that_no_decoder_fits_has_no_route():
    strange = replace(GERMAN, fingerprint="another")
    table = build_table([DECODER, strange])
    with pytest.raises(UnknownRoute, match="served are: nothing"):
        table.find(route_key(Modality.TEXT, "de", "en"))


def test_setting_a_route_makes_a_new_table():
    table = build_table(MODULES)
    route = Route(ModuleRef("speech-en", "2"), DECODER.ref)
    changed = table.set(TRANSCRIBE, route)
    assert (changed.number, changed.find(TRANSCRIBE)) == (2, route)
    assert table.find(TRANSCRIBE).encoder.version == "1"
    assert changed.names(route.encoder)
    assert not changed.names(SPEECH.ref)


@pytest.mark.parametrize(
    ("route", "error"),
    [
        (Route(ModuleRef("nobody", "1"), DECODER.ref), UnknownModule),
        (Route(GERMAN.ref, DECODER.ref), ContractMismatch),
        (Route(SPEECH.ref, SPEECH.ref), ContractMismatch),
        (Route(ModuleRef("speech-fr", "1"), DECODER.ref), ContractMismatch),
        (Route(ModuleRef("strange", "1"), DECODER.ref), VocabularyMismatch),
    ],
)
def test_a_route_that_does_not_fit_is_refused(route: Route, error: type[Exception]):
    french = replace(SPEECH, ref=ModuleRef("speech-fr", "1"), source_language="fr")
    strange = replace(SPEECH, ref=ModuleRef("strange", "1"), fingerprint="another")
    with pytest.raises(error):
        check_route(TRANSCRIBE, route, {**LOADED, french.ref: french, strange.ref: strange})


def test_a_route_that_fits_is_taken():
    check_route(TRANSCRIBE, Route(SPEECH.ref, DECODER.ref), LOADED)


def test_languages_are_known_by_their_first_part():
    assert primary_language("DE_at") == "de"
    for nonsense in ("", "e", "12", "-en", "englischsprachig"):
        with pytest.raises(BadConfig):
            primary_language(nonsense)
    assert str(route_key(Modality.TEXT, "de", "en", model="x")) == "text de to en model 'x'"


def test_admission_counts_who_is_inside():
    admission = Admission(AdmissionLimits(max_streams=1))
    with pytest.raises(Unavailable), admission.enter():
        pass
    admission.open()
    with admission.enter(), pytest.raises(AdmissionRefused), admission.enter():
        pass
    with admission.enter():
        assert admission.num_open == 1
    assert admission.num_open == 0
    admission.drain()
    with pytest.raises(ModuleDraining), admission.enter():
        pass
    with pytest.raises(ValueError, match="max_streams"):
        AdmissionLimits(max_streams=0)
