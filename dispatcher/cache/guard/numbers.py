"""Reads numbers off tokens: digits and words, with the unit beside them, each in one canonical writing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from dispatcher.cache.guard.tokens import Token
from dispatcher.cache.guard.words import word_set

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"  # noqa: E501  # one table
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL = {word: number for number, word in enumerate(_ONES.split())} | {
    word: 10 * number for number, word in enumerate(_TENS.split(), start=2)
}
SCALES = {
    "hundred": 2,
    "thousand": 3,
    "k": 3,
    "grand": 3,
    "million": 6,
    "mio": 6,
    "mn": 6,
    "billion": 9,
    "bn": 9,
    "trillion": 12,
}
"""Powers of ten."""

FIXED = {
    "dozen": "12", "dozens": "12", "half": "1/2", "quarter": "1/4", "twice": "x2", "double": "x2", "triple": "x3",
    "thrice": "x3",
    "quadruple": "x4", "halve": "x1/2", "ii": "2", "iii": "3", "iv": "4", "vi": "6", "vii": "7", "viii": "8",
    "ix": "9", "xi": "11",
    "xii": "12", "xiv": "14", "xvi": "16", "pair": "2", "couple": "2",
}  # fmt: skip
_ROMAN = frozenset(["ii", "iii", "iv", "vi", "vii", "viii", "ix", "xi", "xii", "xiv", "xvi"])
_FIRST_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth"
ORDINALS = {word: f"#{number}" for number, word in enumerate(_FIRST_ORDINALS.split(), start=1)} | {
    "twentieth": "#20",
    "thirtieth": "#30",
    "hundredth": "#100",
}

UNITS = {
    form: unit
    for unit, forms in {
        "%": "% percent percents pct percentage", "usd": "$ usd dollar dollars bucks buck", "eur": "€ eur euro euros",
        "gbp": "£ gbp pound_sterling quid", "jpy": "¥ jpy yen", "inr": "₹ inr rupee rupees", "chf": "chf franc francs",
        "lb": "pound pounds lb lbs", "oz": "oz ounce ounces",
        "kg": "kg kgs kilo kilos kilogram kilograms kilogramme kilogrammes",
        "g": "g gram grams gramme grammes", "mg": "mg milligram milligrams", "µg": "µg mcg microgram micrograms",
        "ton": "ton tons tonne tonnes",
        "km": "km kms kilometer kilometers kilometre kilometres", "m": "m meter meters metre metres",
        "cm": "cm centimeter centimeters centimetre centimetres",
        "mm": "mm millimeter millimeters millimetre millimetres",
        "mi": "mile miles mi", "yd": "yard yards yd", "ft": "foot feet ft", "in": "inch inches",
        "l": "l liter liters litre litres", "ml": "ml milliliter milliliters millilitre millilitres",
        "gal": "gallon gallons gal",
        "cup": "cup cups", "tbsp": "tbsp tablespoon tablespoons", "tsp": "tsp teaspoon teaspoons", "pint": "pint pints",
        "ms": "ms millisecond milliseconds msec", "s": "s sec secs second seconds", "min": "min mins minute minutes",
        "h": "h hr hrs hour hours", "day": "day days", "week": "week weeks wk", "month": "month months",
        "year": "year years yr yrs yo",
        "decade": "decade decades", "century": "century centuries", "am": "am", "pm": "pm",
        "c": "c celsius centigrade", "f": "f fahrenheit",
        "kelvin": "kelvin", "°": "° degree degrees deg", "b": "b byte bytes", "bit": "bit bits",
        "kb": "kb kib kilobyte kilobytes",
        "mb": "mb mib megabyte megabytes", "gb": "gb gib gigabyte gigabytes gig gigs",
        "tb": "tb tib terabyte terabytes",
        "mbit": "mbit mbps megabit megabits", "gbit": "gbit gbps gigabit gigabits", "hz": "hz hertz",
        "khz": "khz kilohertz",
        "mhz": "mhz megahertz", "ghz": "ghz gigahertz", "w": "w watt watts", "kw": "kw kilowatt kilowatts",
        "kwh": "kwh", "mw": "mw",
        "v": "v volt volts", "mv": "mv millivolt millivolts", "a": "amp amps ampere amperes",
        "ma": "ma milliamp milliamps", "ohm": "ω ohm ohms",
        "j": "joule joules", "kcal": "kcal calorie calories", "pa": "pascal pascals", "bar": "bar bars",
        "psi": "psi", "mph": "mph",
        "km/h": "km/h kmh kph", "px": "px pixel pixels", "bpm": "bpm", "rpm": "rpm", "db": "db decibel decibels",
        "times": "times x",
        "people": "people persons", "sentence": "sentence sentences", "word": "word words", "line": "line lines",
        "token": "token tokens",
    }.items()
    for form in forms.split()
}  # fmt: skip
"""Units in their usual writings. What stands beside a number and is none of these is a word like any other."""

_WRITTEN_SCALES = word_set("hundred thousand million billion trillion")
_NOT_COUNTED = word_set("of is does can should would i that who to has day and or")
MOST_NUMBER_WORDS = 12
"""A number takes no more; of a longer row of number words nothing is multiplied out."""

_CURRENCY = frozenset("$€£¥₹")
_DIGITS = re.compile(r"v?\d[\d.,:/]*\Z")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\Z")
_ATTACHED = re.compile(r"(\d[\d.,]*)([^\W\d_]+(?:/h)?)\Z")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?\Z")
_NOT_COUNTING = word_set(
    "which this that another the any each every no some other right wrong good better best new same"
)


class Found(NamedTuple):
    """Where numbers stood (positions of tokens), how they read, in order, and which begins where."""

    taken: frozenset[int]
    numbers: tuple[str, ...]
    begins: dict[int, str]


def numbers(words: Sequence[Token]) -> Found:
    """Read the numbers of a text: `5 km`, `20 %`, `#2` for an ordinal, `3.11` as it is written, `x2` for twice."""
    taken: set[int] = set()
    begins: dict[int, str] = {}
    at = 0
    while at < len(words):
        value, end = _number(words, at)
        if value is None:
            at += 1
            continue
        begin = at
        unit, end = _unit(words, at, end) if value[0] != "#" else ("", end)
        if not unit and " " not in value and at and words[at - 1].text in _CURRENCY:
            unit, begin = UNITS[words[at - 1].text], at - 1
        begins[begin] = f"{value} {unit}" if unit else value
        taken.update(range(begin, end))
        at = end
    return Found(frozenset(taken), tuple(begins.values()), begins)


def _number(words: Sequence[Token], at: int) -> tuple[str | None, int]:
    """Give the number that begins here, and where it ends."""
    text = words[at].text
    if text[0].isdecimal() or (text[0] == "v" and text[1:2].isdecimal()):
        return _of_digits(words, at)
    if text in SMALL or text in SCALES or text in ("a", "an"):
        return _of_words(words, at)
    if text in FIXED:
        counts = text not in _ROMAN or words[at].raw.isupper()
        return (FIXED[text], at + 1) if counts else (None, at)
    if text in ORDINALS and not (
        text == "second" and at and words[at - 1].text in ("per", "a", "each", "every", "split")
    ):
        return ORDINALS[text], at + 1
    return None, at


def _of_digits(words: Sequence[Token], at: int) -> tuple[str | None, int]:
    text = _ascii_digits(words[at].text)
    if ordinal := _ORDINAL.match(text):
        return "#" + plain(ordinal[1]), at + 1
    if _DIGITS.match(text):
        follows = words[at + 1].text if at + 1 < len(words) else ""
        if follows in SCALES and follows != "grand":
            return scaled(plain(text), SCALES[follows]), at + 2
        return plain(text), at + 1
    attached = _ATTACHED.match(text)
    return (_attached(plain(attached[1]), attached[2]), at + 1) if attached else (None, at)


def _attached(value: str, ending: str) -> str | None:
    """Read `16gb`, `5k`; of `4090ti` it gives None, it is a name."""
    if ending in SCALES:
        return scaled(value, SCALES[ending])
    return f"{value} {UNITS[ending]}" if ending in UNITS else None


def _of_words(words: Sequence[Token], at: int) -> tuple[str | None, int]:
    """Read `two hundred and five`, `a dozen`, `twenty five thousand`; `one` only where it counts something."""
    begin, current = at, 0
    if words[at].text in ("a", "an"):
        follows = words[at + 1].text if at + 1 < len(words) else ""
        if follows in ("dozen", "half", "quarter", "couple", "pair"):
            return FIXED[follows], at + 2
        if follows not in _WRITTEN_SCALES:
            return None, at
        begin, current = at + 1, 1
    value, end = _summed(words, begin, current)
    lone = end == at + 1 and words[at].text == "one"
    return (None, at) if end == begin or (lone and not _counts(words, at)) else (str(value), end)


def _summed(words: Sequence[Token], at: int, current: int) -> tuple[int, int]:
    """Add up number words from here; gives the sum, and where they end."""
    total, end = 0, at
    while (
        end < min(len(words), at + MOST_NUMBER_WORDS) and (value := _word_value(words, end, seen=end > at)) is not None
    ):
        text = words[end].text
        if text == "hundred":
            current = max(current, 1) * 100
        elif text in SCALES:
            total, current = total + max(current, 1) * 10 ** SCALES[text], 0
        current, end = current + value, end + 1
    return total + current, end


def _word_value(words: Sequence[Token], at: int, *, seen: bool) -> int | None:
    text = words[at].text
    if text in SMALL:
        return SMALL[text]
    if text in _WRITTEN_SCALES:
        return 0
    goes_on = (
        seen and text == "and" and words[at - 1].text in SCALES and at + 1 < len(words) and words[at + 1].text in SMALL
    )
    return 0 if goes_on else None


def _counts(words: Sequence[Token], at: int) -> bool:
    before = words[at - 1].text if at else ""
    after = words[at + 1].text if at + 1 < len(words) else ""
    return before not in _NOT_COUNTING and after[:1].isalpha() and after not in _NOT_COUNTED


def _unit(words: Sequence[Token], at: int, end: int) -> tuple[str, int]:
    if end >= len(words) or end == at:
        return "", end
    text = words[end].text
    if text == "°" and end + 1 < len(words) and words[end + 1].text in ("c", "f"):
        return words[end + 1].text, end + 2
    if (
        text in ("degree", "degrees")
        and end + 1 < len(words)
        and words[end + 1].text in ("c", "f", "celsius", "fahrenheit")
    ):
        return UNITS[words[end + 1].text], end + 2
    return (UNITS[text], end + 1) if text in UNITS else ("", end)


def plain(digits: str) -> str:
    """Write digits without what only divides them: `1,000` is 1000, `1,5` is 1.5; `3.10` stays, it may be a version."""
    digits = digits.removeprefix("v").rstrip(".,:/")
    if _THOUSANDS.match(digits):
        return digits.replace(",", "")
    return digits.replace(",", ".") if digits.count(",") == 1 and "." not in digits else digits


def scaled(value: str, power: int) -> str:
    """Multiply digits by a power of ten, on their writing: any length will do."""
    whole, _, rest = value.partition(".")
    if not (whole.isdecimal() and (not rest or rest.isdecimal())):
        return f"{value}e{power}"
    moved = whole + rest[:power].ljust(power, "0")
    return (moved.lstrip("0") or "0") + ("." + rest[power:] if len(rest) > power else "")


def _ascii_digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
