"""The prose check: what it finds in Markdown, where, and what it leaves alone."""

from __future__ import annotations

import pytest

pytest.importorskip("markdown_it", reason="markdown-it-py is missing (`make lint` installs it)")

from tools.prose import WORDS, findings, main, sentences

LONG = "Word" + " word" * WORDS


def lengths(source: str) -> list[tuple[int, int]]:
    return [(s.line, s.words) for s in sentences(source)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("One two. Three\nfour five. Six!", [(1, 2), (1, 3), (2, 1)]),
        ("Version 1.26 of main.py, e.g. Three.", [(1, 6)]),
        ("Type `a b c d`. `x` then runs.", [(1, 2), (1, 3)]),
        ("See [one page. Or](two.md) more.", [(1, 3), (1, 2)]),
        ("- an item\n- another\n\n      code that is not read", [(1, 2), (2, 1)]),
        ("| a head | b |\n|---|---|\n| one cell | two<br>lines |", None),
        ("```sh\nnot this\n```\n\n# A heading", [(5, 2)]),
        ("---\nlicense: mit\n---\n\nText here.", [(5, 2)]),
        ("Said ![a picture of it](x.png) here.", [(1, 4), (1, 2)]),
        ("Dashes — and 3 + 4 signs.", [(1, 5)]),
    ],
)
def test_sentences(source, found):
    if found is None:
        assert [n for _, n in lengths(source)] == [2, 1, 2, 1, 1]
        assert lengths(source)[-3:] == [(3, 2), (3, 1), (3, 1)]
    else:
        assert lengths(source) == found


def test_a_long_sentence_is_found_in_its_line():
    (found,) = findings("page.md", f"Short.\n\nShort.\n{LONG}.")
    assert str(found).startswith(f"page.md:4: {WORDS + 1} words: \"Word word")
    assert not findings("page.md", LONG[:-5])
    assert len(str(found)) < 200


@pytest.mark.parametrize(
    "text", ["Likewise the other.", "The latter is new.", "It recognises a color.", "behind it"]
)
def test_words_to_mend(text):
    assert findings("page.md", text)


def test_words_in_code_are_left_alone():
    assert not findings("page.md", "Set `color`, promise noise, otherwise raised. A behindhand.")


def test_command(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"{LONG}.")
    assert main([str(page)]) == 1
    page.write_text("Fine.")
    assert main([str(page)]) == 0
    assert capsys.readouterr().out.endswith("prose: nothing to mend in 1 page\n")
    assert main([str(tmp_path / "none.md")]) == 2
