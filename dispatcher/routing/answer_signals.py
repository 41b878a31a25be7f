"""Signals of an answer that hint whether it is right, for a cascade that may ask a stronger model; pure, in time linear
in its length: some 0.1 ms for each thousand characters of prose, and five times as much where there is nothing but sums.

They never say what the right answer is: they recheck the sums that an answer writes down, see whether it uses the numbers it was
given, ends where it should, hedges or repeats itself. How much each is worth for a model and its users, training decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from math import log1p

HEAD_CHARS = 8000
"""Only so much of an answer is looked at, and as much of its prompt."""

ANSWER_SIGNALS = (
    "answer_chars", "answer_lines", "answer_sentences", "answer_to_prompt", "marked_result", "ends_whole", "ends_with_number",
    "sums", "wrong_sums", "any_wrong_sum", "given_numbers_used", "new_numbers", "result_is_given", "result_is_whole",
    "result_size", "result_from_sums", "negative_result", "hedges", "refusals", "repeated_lines", "repeated_words",
    "open_brackets", "json_broken", "has_logprobs", "mean_logprob", "least_logprob", "unsure_tokens",
)  # fmt: skip  # as a table of words it reads better

_DIGITS = r"\d[\d,]{0,18}(?:\.\d{1,9})?"
_OPERATOR = r"\s{0,3}[-+*/x\u00d7\u00f7]\s{0,3}"
"""Everything is bounded: a page of digits or of spaces must not cost more than its length."""

_NUMBER = re.compile(rf"-?{_DIGITS}")
_SUM = re.compile(
    rf"(?<![\d.,])(-?\$?{_DIGITS})((?:{_OPERATOR}\$?{_DIGITS}){{1,6}})\s{{0,3}}=\s{{0,3}}\$?(-?{_DIGITS})"
)
_LEFT_CHARS, _RIGHT_CHARS = 270, 40
"""More than what can stand before the `=` of a sum, and behind it."""

_STEP = re.compile(rf"\s{{0,3}}([-+*/x\u00d7\u00f7])\s{{0,3}}\$?({_DIGITS})")
_RESULT = re.compile(rf"(?:####|\\boxed\{{|answer(?: is)?:?)\s{{0,3}}\$?(-?{_DIGITS})?", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_WORD = re.compile(r"\w+")
_HEDGES = (
    "not sure", "i think", "maybe", "perhaps", "might be", "possibly", "it seems", "probably", "approximately", "unclear",
    "assuming", "assume", "however", "wait", "depends on",
)  # fmt: skip
_REFUSALS = (
    "i cannot",
    "i can't",
    "i'm sorry",
    "i am sorry",
    "as an ai",
    "unable to",
    "don't know",
    "do not know",
    "not enough information",
)
_TRUE_WITHIN = 0.011
"""A sum that rounds to cents is right."""

_UNSURE = math.log(0.5)
"""A token that the model itself gave less than even odds."""

_ENDS = (".", "!", "?", "}", "]", ")", "```", '"', "'")


def answer_signals(prompt: str, answer: str, logprobs: Sequence[float] = ()) -> tuple[float, ...]:
    """Read the signals of an answer to a prompt, in the order of `ANSWER_SIGNALS`; all finite.

    `logprobs` are natural logarithms, one per token, where the backend returns them.
    """
    prompt, answer = prompt[:HEAD_CHARS], answer.strip()[:HEAD_CHARS]
    return (*_form(prompt, answer), *_numbers(prompt, answer), *_manner(answer), *_confidence(logprobs))


def _form(prompt: str, answer: str) -> tuple[float, ...]:
    mark = _RESULT.search(answer)
    return (
        log1p(len(answer)),
        log1p(answer.count("\n")),
        log1p(len(_SENTENCE.findall(answer))),
        log1p(len(answer)) - log1p(len(prompt)),
        float(mark is not None),
        float(answer.endswith(_ENDS) or (mark is not None and mark.end() >= len(answer) - 2)),
        float(answer[-1:].isdigit()),
    )


def _numbers(prompt: str, answer: str) -> tuple[float, ...]:
    """Recheck the sums, and compare the answer's numbers with those that the prompt gave."""
    sums = list(_sums(answer))
    wrong = sum(not math.isclose(worth, said, rel_tol=1e-4, abs_tol=_TRUE_WITHIN) for worth, said in sums)
    given = {_value(text) for text in set(_NUMBER.findall(prompt))}
    texts = _NUMBER.findall(answer)
    values = {text: _value(text) for text in set(texts)}  # a page of the same number costs one
    used = [values[text] for text in texts]
    result = _result(answer, used)
    return (
        log1p(len(sums)),
        wrong / len(sums) if sums else 0.0,
        float(wrong > 0),
        len(given & set(used)) / len(given) if given else 1.0,
        log1p(len(set(used) - given)),
        float(result in given) if used else 0.0,
        float(result == int(result)) if used else 0.0,
        log1p(abs(result)),
        float(any(said == result for _, said in sums)),
        float(result < 0),
    )


def _sums(answer: str) -> Iterator[tuple[float, float]]:
    """Give each sum's true worth and what it is said to be. Only what stands around an `=` is looked at, and no part of it twice: a
    page of `1+1+1` holds no sum."""
    after = 0
    at = answer.find("=")
    while at >= 0:
        found = _SUM.search(answer, max(after, at - _LEFT_CHARS), at + _RIGHT_CHARS)
        after = at + 1
        if found is not None and found.start() < at:
            after = found.end()
            yield _worth(found[1], found[2]), _value(found[3])
        at = answer.find("=", max(after, at + 1))


def _manner(answer: str) -> tuple[float, ...]:
    low = answer.lower()
    lines = [line for line in (one.strip() for one in low.split("\n")) if len(line) > 10]
    words = _WORD.findall(low)
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return (
        log1p(sum(low.count(hedge) for hedge in _HEDGES)),
        float(any(refusal in low for refusal in _REFUSALS)),
        1 - len(set(lines)) / len(lines) if lines else 0.0,
        1 - len(set(triples)) / len(triples) if triples else 0.0,
        float(sum(map(answer.count, "([{<")) != sum(map(answer.count, ")]}>"))),
        float(answer.startswith(("{", "[")) and not answer.endswith(("}", "]"))),
    )


def _confidence(logprobs: Sequence[float]) -> tuple[float, ...]:
    sound = [max(-20.0, min(0.0, one)) for one in logprobs if one == one]  # noqa: PLR0124  # NaN is not itself
    if not sound:
        return (0.0, 0.0, 0.0, 0.0)
    return (1.0, sum(sound) / len(sound), min(sound), sum(one < _UNSURE for one in sound) / len(sound))


def _result(answer: str, used: Sequence[float]) -> float:
    """Give the number that the answer marks as its result, or else its last."""
    marked = [found for found in _RESULT.findall(answer) if found]
    if marked:
        return _value(marked[-1])
    return used[-1] if used else 0.0


def _worth(first: str, steps: str) -> float:
    """Work out `12 + 3 x 4`: products before sums. Infinite where it divides by zero."""
    terms = [_value(first)]
    for operator, text in _STEP.findall(steps):
        value = _value(text)
        match operator:
            case "+" | "-":
                terms.append(value if operator == "+" else -value)
            case "/" | "÷":
                terms[-1] = terms[-1] / value if value else math.inf
            case _:
                terms[-1] *= value
    return sum(terms)


def _value(text: str) -> float:
    """Read a number; one that no float holds is cut to a great one."""
    digits = text.replace(",", "").replace("$", "")
    return max(-1e12, min(1e12, float(digits)))
