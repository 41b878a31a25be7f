"""What people may call things: what is shown as it was written."""

from __future__ import annotations

import pytest

from common import codec
from common.errors import BadRequest
from common.key_requests import AddKey, ChangeKey
from common.labels import seen

NAMED = [
    (AddKey, {"name": "k"}, "name"),
    (AddKey, {"name": "k"}, "tenant"),
    (AddKey, {"name": "k"}, "user"),
    (ChangeKey, {"which": "k"}, "name"),
]


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u200f", "\x1b", "\0", "\n", "\u2028", "\ue000"])
@pytest.mark.parametrize(("kind", "rest", "field"), NAMED)
def test_a_sign_that_acts_on_others_is_refused(kind: type, rest: dict[str, object], field: str, sign: str) -> None:
    """It would turn the text behind it, or end its line: the refusal names the field and the sign, and repeats neither."""
    with pytest.raises(BadRequest) as refused:
        codec.build(kind, {**rest, field: f"fdp{sign}exe"})

    assert (field, True) == (refused.value.details["param"], f"U+{ord(sign):04X}" in refused.value.message)
    assert sign not in refused.value.message


@pytest.mark.parametrize("text", ["Bees", "שלום", "a\u200cb", "👩\u200d💻 & 🐝", "a b\u00a0c", "naïve", "日本"])
@pytest.mark.parametrize(("kind", "rest", "field"), NAMED)
def test_every_script_is_taken(kind: type, rest: dict[str, object], field: str, text: str) -> None:
    """Also those that are read from right to left, by themselves, and signs that are joined to one."""
    assert text == getattr(codec.build(kind, {**rest, field: text}), field)


def test_of_the_name_of_a_file_stands_what_can_be_seen() -> None:
    """Nobody is asked to call a file anew: signs that act on others are left out, and those that join are not."""
    assert ["mifdp.pdf", "a\u200cb", ""] == [seen("mi\u202efdp\n.pdf"), seen("a\u200cb"), seen("\u2066")]
