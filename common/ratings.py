"""What somebody says of an answer, and of several that were compared; it knows no job, and nothing that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import AllowInfNan, ConfigDict, FailFast, Strict

from common import codec
from common.errors import BadRequest
from common.messages import Token

MOST_COMPARED = 8
"""Answers that one vote compares: more stand beside one another on no screen."""

WON, TIED, LOST = 1.0, 0.5, 0.0
"""What a vote says of an answer: of the one that was chosen what a thumb up says, of the others what a thumb down does, and where
none was better, that each was as good as not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What somebody says of an answer: thumbs, or a score from 0 to 1. One of the two is needed.

    `source` is a claim that nobody proves: none counts for more than a thumb, so there is nothing to win by a false one. `over` are
    jobs of the same tenant whose answers were thought worse than this one. Who asks the ledger itself to keep the word, as its
    user's, says so by `keep`: else the dispatcher has it kept, as nobody's.

    A job counts once. `word` names the one that is said: said again otherwise under the same name it takes the place of the one
    before, and `withdrawn` takes that back; one without a name stays."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    rating: Literal["up", "down"] | None = None
    score: Annotated[float, Strict(), AllowInfNan(allow_inf_nan=False), Ge(0), Le(1)] | None = None
    reason: Annotated[str, MaxLen(2000)] = ""
    source: Literal["user", "vote", "judge"] = "user"
    over: Annotated[tuple[Token, ...], FailFast(), MaxLen(MOST_COMPARED - 1)] = ()
    keep: Annotated[bool, Strict()] = True
    word: Annotated[str, MaxLen(64)] = ""
    withdrawn: Annotated[bool, Strict()] = False

    @property
    def reward(self) -> float:
        """Give it as a number in [0, 1]. Raises `BadRequest` for none, or two."""
        if (self.rating is None) == (self.score is None):
            raise BadRequest('say one of the two: "rating" (up or down), or "score" (0 to 1)', param="rating")
        return float(self.rating == "up") if self.score is None else self.score


def read_rating(body: Mapping[str, object]) -> Rating:
    """Read what was said. Raises `BadRequest` that names what is wrong."""
    rating = codec.build(Rating, {key: value for key, value in body.items() if key != "tenant"})  # whose job it is
    if not rating.withdrawn:
        _ = rating.reward
    elif rating.rating is not None or rating.score is not None or rating.over or not rating.word:
        raise BadRequest(
            'withdrawn takes a word back by its name alone: {"withdrawn":true,"word":"…"}', param="withdrawn"
        )
    return rating
