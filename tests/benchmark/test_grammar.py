"""The grammar of what is typed: values mean what they look like, and nothing typed is a traceback."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.ground.errors import BadInput
from benchmark.ground.files import LONGEST_NAME, safe_name
from benchmark.ground.grammar import as_typed, parse_value, split_item, split_list
from benchmark.study.grid import parse_methods


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("2.", 2.0),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("~", "~"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2025-01-01", "2025-01-01"),
        ("12:30", "12:30"),
        ("'3'", "3"),
        ('"a, [b]"', "a, [b]"),
        ("[]", []),
        ("[8, 16,'x']", [8, 16, "x"]),
    ],
)
def test_a_value_is_what_it_looks_like(text: str, value: object) -> None:
    found = parse_value("--methods", text)
    assert found == value and type(found) is type(value)


def test_commas_in_brackets_and_quotes_do_not_split() -> None:
    assert split_list("a[b=[1,2],c='x,y'], d,,e") == ["a[b=[1,2],c='x,y']", "d", "e"]
    assert split_item("--methods", "a[b=[1,2], c='x,]y',d.e=.5]") == ("a", {"b": [1, 2], "c": "x,]y", "d.e": 0.5})


@given(
    st.one_of(
        st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), st.text("abz019_.-+e")
    )
)
def test_what_is_written_reads_as_it_was(value: object) -> None:
    assert parse_value("--methods", as_typed(value)) == value
    assert parse_value("--methods", as_typed([value, value])) == [value, value]


@settings(deadline=None)
@given(st.text("cps[]=,'\"|. x1é{}:&*!\n\t", max_size=30))
def test_nothing_typed_is_a_traceback(text: str) -> None:
    for typed in (text, f"cps[{text}]", f"cps[exchange={text}]"):
        try:
            parse_methods(typed)
        except BadInput as error:
            assert "--methods" in str(error) or "called" in str(error)


@pytest.mark.parametrize(
    "text", ["cctr[rsl=true,rsl=false]", "cctr[rsl=", "cctr[rsl='x]", "cctr[rsl=]", "cctr[rsl={a: 1]", "cctr[rsl=&x]"]
)
def test_malformed_values_of_methods_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_methods(text)


def test_names_of_files_are_safe_and_their_own() -> None:
    texts = ["quick", "quick[learning_rate=0.05]", "quick[learning_rate=0.5]", "a/../b", "x" * 300, "x" * 301]
    names = [safe_name(text) for text in texts]
    assert names[0] == "quick" and len(set(names)) == len(texts)
    assert all(len(name) <= LONGEST_NAME and not set("/.[]=,") & set(name) for name in names)
