"""Space within templates, which is left out of what is sent, and what it would mean there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dispatcher.bridge.pages.assets import UI
from dispatcher.bridge.pages.minified import minified
from dispatcher.bridge.pages.minifier import QUOTED

_TEXT = re.compile(r"`|\$\{|\\.|[^`\\$]+|\$", re.DOTALL)
_PATTERN = re.compile(r"/(?![/*])(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\[\n])+/\w*")
_CODE = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[\w$]+|\s+|.""", re.DOTALL)
_BEFORE_PATTERN = frozenset("(,=:[!&|?{};>")

OURS = [file for file in sorted(UI.rglob("*.js")) if "vendor" not in file.parts]

ENDS = re.compile(r"""["'][^"'<>`\n]*</[^"'<>`\n]*>[^"'<>`\n]*["']""")
"""A text in code with the end of an element."""


EMPTY = re.compile(r"""["'][^"'<>`\n]* />[^"'<>`\n]*["']""")
"""A text in code with an empty element, or what looks like its end."""


@dataclass
class Template:
    """A text between backticks; `depth` counts the braces of what is put in and not read to its end."""

    markup: bool
    text: str = ""
    depth: int = 0


def test_no_template_depends_on_what_is_not_sent() -> None:
    """There are texts of several lines in markup alone, where the space around tags is none, and other space is one."""
    depends = [
        f"{file.name}: {line.strip()}"
        for file in sorted(UI.rglob("*.js"))
        for template in templates(file.read_text())
        for line in template.text.split("\n")[1:]
        if not template.markup
    ]

    assert [] == depends


def test_no_text_that_is_shown_has_the_space_of_an_empty_element() -> None:
    """That goes wherever it stands: outside of markup it would be missed."""
    told = [
        f"{file.name}: {template.text}"
        for file in OURS
        for template in templates(file.read_text())
        if " />" in template.text and not template.markup
    ]
    quoted = [one for file in OURS for one in EMPTY.findall(file.read_text())]

    assert ([], [], ["' />'"]) == (told, quoted, EMPTY.findall("f(' />')"))


def test_space_around_tags_goes() -> None:
    """Between attributes, and between words, one space stays."""
    written = b"export const drawn = () => html`\n  <p class='a'\n    id='b'>\n    two\n    words ${one}\n  </p>\n  <b>x</b>`;\n"

    assert b"html`<p class='a'\nid='b'>two\nwords ${one}</><b>x</>`" in minified({"a.js": written})["a.js"]


def test_a_word_as_a_value_goes_without_quotes() -> None:
    """Of an attribute, where it is one word; what is compared with a text in between keeps them."""
    written = (
        b'export const drawn = (one) => html`<p class="a" id="b-1" title="c d">${one === "e"} <input name="f" /></p>`;'
    )

    sent = minified({"a.js": written})["a.js"]

    assert sent.endswith(b'html`<p class=a id=b-1 title="c d">${e==="e"} <input name=f/></>`')


def test_an_element_ends_without_its_name_in_markup_alone() -> None:
    """Where there is HTML in other texts, there is no markup in the module."""
    written = b"export const drawn = (one) => `<h3>${one}</h3>`;"
    named = [
        f"{file.name}: {template.text}"
        for file in OURS
        if "html`" in file.read_text()
        for template in templates(file.read_text())
        if "</" in template.text and not template.markup
    ]
    quoted = [one for file in OURS for one in ENDS.findall(file.read_text())]

    assert ([], []) == (named, quoted)
    assert minified({"a.js": written})["a.js"].endswith(b"`<h3>${e}</h3>`")


def test_nothing_in_code_looks_like_an_attribute() -> None:
    """All that loses its quotes in what is sent stands in markup."""
    for file in OURS:
        module = file.read_text()
        in_markup = [one for template in templates(module) if template.markup for one in QUOTED.findall(template.text)]
        sent = minified({file.name: module.encode()})[file.name].decode()
        bare = sum(len(re.findall(rf"(?<=\s){name}{value}(?=[\s/>])", sent)) for name, value in set(in_markup))

        assert [] == QUOTED.findall(sent), file.name
        assert len(in_markup) == bare, file.name


def test_templates_are_found_within_one_another() -> None:
    """And behind patterns and comments that hold a backtick."""
    module = "f(`a\n b${c ? html`\n // d${'`'}` : /`/} e`); // `\nconst g = `h`;"

    assert [(True, "\n // d"), (False, "a\n b e"), (False, "h")] == [
        (one.markup, one.text) for one in templates(module)
    ]


def templates(module: str) -> Iterator[Template]:
    """Give the template literals of a module, each without what is put in."""
    within, last, here = list[Template](), ";", 0
    while here < len(module):
        if within and within[-1].depth == 0:
            said = _found(_TEXT, module, here)
            if said == "`":
                yield within.pop()
            elif said == "${":
                within[-1].depth = 1
            else:
                within[-1].text += said
        else:
            pattern = _PATTERN.match(module, here) if last[-1] in _BEFORE_PATTERN else None
            said = pattern[0] if pattern else _found(_CODE, module, here)
            if said == "`":
                within.append(Template(markup=last == "html"))
            elif within:
                within[-1].depth += (said == "{") - (said == "}")
        here += len(said)
        last = last if said.isspace() or said.startswith(("//", "/*")) else said


def _found(pattern: re.Pattern[str], module: str, here: int) -> str:
    found = pattern.match(module, here)
    assert found is not None
    return found[0]
