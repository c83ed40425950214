"""Partition keys and file names."""

import unicodedata

import pytest

from imagegen_pipeline.domain.partition_keys import (
    database_key,
    is_key,
    json_key,
    safe_file_stem,
    typed_key,
)


@pytest.mark.parametrize("text", ["a", "0100_european_25_male", "db-12", "A-z_9"])
def test_is_key_accepts(text: str) -> None:
    """Letters, digits, underscores and hyphens make a key."""
    assert is_key(text)


@pytest.mark.parametrize("text", ["", "a b", "a/b", "a.b", "é", "a\n", "db-1.5", "…"])
def test_is_key_refuses(text: str) -> None:
    """Other characters, or an empty text, are not a key."""
    assert not is_key(text)


@pytest.mark.parametrize(
    "stem", ["403_error._20250906", "[a], 'b' \"c\"", "日本語", "...", "a" * 300, "UPPER", "\n", ""]
)
def test_names_become_keys(stem: str) -> None:
    """Every file name and every typed text gives a valid key."""
    assert is_key(json_key(stem))
    assert is_key(typed_key(stem))


def test_database_key() -> None:
    """A row's key is ``db-`` and its id."""
    assert database_key(902) == "db-902"
    assert database_key("a_1") == "db-a_1"


def test_same_slug_different_keys() -> None:
    """Names with the same slug have different keys."""
    stems = ["a b", "a-b", "A b", "a  b", "日", "本"]
    assert len({json_key(stem) for stem in stems}) == len(stems)


def test_normalization_keeps_the_key() -> None:
    """The key does not depend on the Unicode normalization of the name."""
    stem = "Café"
    assert json_key(unicodedata.normalize("NFD", stem)) == json_key(stem)
    assert json_key(stem).startswith("json-cafe-")


def test_keys_do_not_change() -> None:
    """Stored keys are the same in every version."""
    assert json_key("Angel,_Cosmic_being_1") == "json-angel-cosmic-being-1-af81050a"
    assert typed_key("a beautiful sunset") == "prompt-a-beautiful-sunset-42df8c31"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Angel,_[x].(1)", "Angel,_[x].(1)"),
        ("a/b\\c:d", "a_b_c_d"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        (".hidden", "_hidden"),
        ("two  words\n", "two_words"),
        ("half \ud800 one", "half_one"),
        ("a\0b", "a_b"),
        ("   ", "_"),
        ("", "_"),
    ],
)
def test_safe_file_stem(name: str, stem: str) -> None:
    """Safe characters are kept, unsafe ones become an underscore."""
    assert safe_file_stem(name) == stem


def test_safe_file_stem_is_short() -> None:
    """A long name is cut to the limit in bytes, between characters, without delay."""
    stem = safe_file_stem("é" * 5_000_000, limit=121)
    assert stem == "é" * 60
