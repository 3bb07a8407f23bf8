"""Terms through the models and back: hidden, restored, and never lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legonn_core.errors import BadText
from legonn_core.search.hypothesis import DecodedText, Word
from legonn_server.language.glossary import NAMES, Glossary, Term, completed, restored, written


def translated(text: str) -> DecodedText:
    words = tuple(Word(word, 0, 0, 0.9, 1, row) for row, word in enumerate(text.split()))
    return DecodedText(tuple(range(1, len(words) + 1)), text, 0.0, 0.9, words)


GLOSSARY = Glossary(
    [
        Term("Pod", None),
        Term("Kubernetes-Pod", "K8s pod 🚀"),
        Term("new york", "Neu-Amsterdam"),
        Term("C++", None),
    ],
    "de",
)


def test_terms_are_whole_words_and_the_longest_counts():
    hidden = GLOSSARY.hide("Der Kubernetes-Pod und der Pod, kein Podest.")
    assert hidden.text == "Der Deutschland und der Tom, kein Podest."
    assert hidden.renderings == {"Germany": "K8s pod 🚀", "Tom": "Pod"}
    assert GLOSSARY.hide("pod").text == "pod"
    assert GLOSSARY.hide("New  YORK in C++!").text == "Deutschland in Tom!"
    assert {phrase.text for phrase in hidden.phrases} == {"Germany", "Tom"}


def test_a_name_that_the_text_holds_itself_is_not_taken():
    assert GLOSSARY.hide("Tom mag Deutschland und den Pod").renderings == {"Canada": "Pod"}


def test_a_name_stays_with_its_term_while_the_text_grows():
    taken: dict[str, str] = {}
    assert GLOSSARY.hide("Der Pod", taken=taken).text == "Der Deutschland"
    assert GLOSSARY.hide("Der Pod in C++ und Tom", taken=taken).text == (
        "Der Deutschland in Kanada und Tom"
    )


def test_renderings_come_back_and_keep_their_punctuation():
    hidden = GLOSSARY.hide("Der Pod von C++")
    found = restored([translated("Tom of it"), translated("Germany's Tom, yes")], hidden)
    assert found[0].text == "Pod's C++, yes"
    assert [word.text for word in found[0].words] == ["Pod's", "C++,", "yes"]
    assert completed(found[0], hidden, num_forced=0) is found[0]


def test_what_is_missing_goes_where_it_stood_but_behind_what_is_forced():
    hidden = GLOSSARY.hide("Der Pod schläft heute nicht mehr")
    found = translated("it does not sleep today")
    assert completed(found, hidden, num_forced=0).text == "it Pod does not sleep today"
    late = completed(found, hidden, num_forced=3)
    assert late.text == "it does not Pod sleep today"
    assert sum(word.num_tokens for word in late.words) == len(late.tokens)
    assert completed(translated(""), hidden, num_forced=0).text == "Pod"


def test_a_name_inside_a_rendering_stays():
    hidden = Glossary([Term("A", "Tom Ford"), Term("B", "x")], "de").hide("A B")
    assert restored([translated("Germany Tom")], hidden)[0].text == "Tom Ford x"


def test_growing_text_is_read_up_to_where_a_term_may_begin():
    text = "Ich war in New "
    assert text[: GLOSSARY.readable(text)] == "Ich war in "
    assert GLOSSARY.readable("Ich war in New York ") == 20
    assert Glossary(()).readable("New ") == 4


def test_too_many_terms_for_one_sentence_are_refused():
    terms = [Term(f"T{number}", None) for number in range(9)]
    with pytest.raises(BadText, match="glossary"):
        Glossary(terms, "de").hide(" ".join(term.source for term in terms))
    assert not Glossary(())


def test_single_words_may_be_written_otherwise():
    assert written([Term("Legonn", "LegoNN"), Term("a b", "c"), Term("x", None)]) == {
        "legonn": "LegoNN"
    }


TERMS = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=5)


@given(
    sources=st.lists(TERMS, min_size=1, max_size=4, unique=True),
    target=st.none() | TERMS,
    output=st.lists(st.sampled_from(["a", "Germany", "Tom,", "b's"]), max_size=6).map(" ".join),
)
def test_no_term_is_ever_lost(sources, target, output):
    glossary = Glossary([Term(source, target) for source in sources], "de")
    hidden = glossary.hide(" ".join(sources))
    found = completed(restored([translated(output)], hidden)[0], hidden, num_forced=0)
    for rendering in hidden.renderings.values():
        assert rendering in found.text
    assert hidden.wanted.keys() == hidden.renderings.keys()


def test_names_are_single_words_and_different_on_both_sides():
    for pairs in NAMES.values():
        for names in zip(*pairs, strict=True):
            assert len(set(names)) == len(names)
            assert all(name.isalpha() for name in names)
