"""Line numbers of keys, against the standard parser's own idea of which keys there are."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.locate import Path as KeyPath
from config.locate import locate

TRICKY = '''\
# [not.a.table]
title = "a # in text, and [brackets]"  # comment with "quotes"
"quoted key" = 1
'literal.key' = 2
"esc\\u0041ped" = 3
a.b . "c.d" = 4
text = """
[fake]
key = "no"  \\""" still
end with two quotes"""""
raw = \'\'\'
[[fake]]
it's \\\'\'\'
when = 1979-05-27 07:32:00Z
empty = []
list = [ # comment ]
  1, 2,

  # between
  [ "x", "]" ],
  { p = 1, q.r = [ 3 ] }, 5
]
point = { x = 1, "y z" = { deep = "}" } }

  [ table . "sub" ]
key = 1
[[fruit]]
name = "apple"
[fruit.physical]
colour = "red"
[[fruit.variety]]
name = "red"
[[fruit.variety]]
name = "green"
[[fruit]]
[[fruit.variety]]
name = "plantain"'''


def paths(value: object, here: KeyPath = ()) -> Iterator[KeyPath]:
    if here:
        yield here
    if isinstance(value, dict):
        for key, child in value.items():
            yield from paths(child, (*here, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from paths(child, (*here, index))


def test_every_key_of_a_tricky_document_is_found_and_none_besides() -> None:
    assert set(locate(TRICKY).lines) == set(paths(tomllib.loads(TRICKY)))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("quoted key",), 3),
        (("literal.key",), 4),
        (("escAped",), 5),
        (("a", "b", "c.d"), 6),
        (("text",), 7),
        (("raw",), 11),
        (("when",), 14),
        (("list",), 16),
        (("list", 1), 17),
        (("list", 2), 20),
        (("list", 2, 1), 20),
        (("list", 3, "q", "r", 0), 21),
        (("list", 4), 21),
        (("point", "y z", "deep"), 23),
        (("table", "sub"), 25),
        (("table", "sub", "key"), 26),
        (("fruit", 0), 27),
        (("fruit", 0, "physical", "colour"), 30),
        (("fruit", 0, "variety", 1, "name"), 34),
        (("fruit", 1), 35),
        (("fruit", 1, "variety", 0), 36),
        (("fruit", 1, "variety", 0, "name"), 37),
        (("fruit", 1, "missing"), 35),
        (("nowhere", "at all"), None),
    ],
)
def test_lines_are_where_a_reader_counts_them(path: KeyPath, line: int | None) -> None:
    assert locate(TRICKY).line(path) == line


def test_examples_are_located_completely() -> None:
    examples = Path(__file__).resolve().parents[2] / "config" / "examples"
    found = sorted(examples.rglob("*.toml"))
    assert found
    for example in found:
        text = example.read_text(encoding="utf-8")
        assert set(locate(text).lines) == set(paths(tomllib.loads(text))), example


KEYS = st.sampled_from(["a", "b-1", '"c d"', "'e.f'", '"#"'])
SCALARS = st.sampled_from(
    ["1", "-2.5e3", "true", '"x"', '"]}#, ="', "'it'", '"""\nm\n"""', "'''\n[t]\n'''", '"\\""',
     '"""a""""', "1979-05-27 07:32:00", "inf"]
)  # fmt: skip
GAPS = st.sampled_from([" ", "\n", " # c ]}\n  "])


def arrays(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda gap, parts, comma: (
            f"[{gap}" + f"{gap},{gap}".join(parts) + (comma if parts else "") + f"{gap}]"
        ),
        GAPS,
        st.lists(items, max_size=3),
        st.sampled_from(["", ","]),
    )


def inline_tables(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.dictionaries(KEYS, items, max_size=3)
    return pairs.map(lambda found: "{ " + ", ".join(f"{k} = {v}" for k, v in found.items()) + " }")


VALUES = st.recursive(SCALARS, lambda items: arrays(items) | inline_tables(items), max_leaves=8)
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)


@given(st.lists(TABLES, min_size=1, max_size=4), st.booleans())
def test_any_document_is_located_completely_and_keys_stand_on_their_lines(
    tables: list[dict[str, str]], crlf: bool
) -> None:
    """Each pair is written by the test, so the test knows its line."""
    lines: list[str] = []
    expected: dict[KeyPath, int] = {}
    for index, table in enumerate(tables):
        lines.append("[[t]]  # table")
        expected[("t", index)] = len(lines)
        for key, value in table.items():
            expected["t", index, key.strip("\"'")] = len(lines) + 1
            lines.extend(f"{key} = {value} # end".split("\n"))
    text = "\n".join(lines)
    document = tomllib.loads(text.replace("\n", "\r\n") if crlf else text)
    located = locate(text)
    assert set(located.lines) == set(paths(document))
    assert {path: located.lines[path] for path in expected} == expected


@given(st.text(alphabet="ab.=[]{}\"'\\#, \n1", max_size=60))
def test_text_that_is_not_toml_never_breaks_the_scanner(text: str) -> None:
    located = locate(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(located.lines) == set(paths(document))
