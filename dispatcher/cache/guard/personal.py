"""Whether a text holds what belongs to one person: addresses, numbers of cards and accounts, secrets, names. Patterns with bounded
repetitions only: the time grows with the length of the text."""

from __future__ import annotations

import re
from itertools import pairwise

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[A-Za-z]{2,24}\b")
_DIGIT_GROUPS = re.compile(r"(?<![\w.,])[+(]{0,2}\d(?:[ ().-]{0,2}\d){6,18}(?![\w%])")
_GROUP = re.compile(r"\d+")
_IBAN = re.compile(r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b")
_SSN = re.compile(r"\b\d{3}-\d{2}-\d{4}\b")
_IPV4 = re.compile(r"(?<![\d.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_PUBLIC_KNOWLEDGE = re.compile(
    r"(?:0|10|127|224|255)\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|8\.8\.[48]\.[48]$|1\.[01]\.[01]\.1$"
)
"""Private and special ranges, and resolvers that everybody names: they belong to nobody."""

_HARDWARE = re.compile(r"\b(?:[0-9A-Fa-f]{1,4}:){5,7}[0-9A-Fa-f]{1,4}\b")
_UUID = re.compile(r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b|\b[0-9A-Fa-f]{32,128}\b")
_KEY = re.compile(
    r"\b(?:sk|pk|rk|fd|ghp|gho|ghs|glpat|hf|npm|xox[abps])[-_][\w-]{10,}|\bAKIA[0-9A-Z]{12,}|\beyJ[\w-]{10,}\.|"
    r"-----BEGIN|"
    r"\bBearer [\w.~+/-]{10,}"
)
_TOKEN = re.compile(r"(?<![\w/.-])[\w-]{20,200}(?![\w-])")
_GIVEN_SECRET = re.compile(
    r"\b(?:password|passwd|pwd|passcode|passphrase|pin|pin code|pin number|api key|secret key|access token|cvv|cvc)"
    r"(?: is\s(?!(?:the|a|an|my|so|too|still|also|already|correct|right|ok|okay|in|on|it|out|used|for|there)\b)|"
    r"\s?[:=]\s?)"
    r"(?P<secret>[^\s,?!]{3,80})",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"(?:\w+(?:ed|ing|en|ble|ly|n't|nt)|not|no|wrong|invalid|incorrect|stuck|lost|different|needed|required|never|"
    r"always|gone|weak|safe|secure|"
    r"used|set|what|where|how|this|that|somewhere|case|new|old|[a-z]+)\.?$"
)
_OWN = re.compile(
    r"\bmy (?:full |first |last |middle |maiden )?name(?: is|'s)\b|\bcall me (?!back\b|when|if|a\b|an\b|the\b|later|"
    r"at\b|on\b|please|today|now|tomorrow)"
    r"[a-z]|\bi am called [a-z]|\bwhat is my name\b|\bwhat's my name\b|\bwho am i\b|\bdo you (?:know|"
    r"remember) my name\b|"
    r"\bi live (?:at|on) \w|\bmy (?:home |work |postal |street |billing |shipping |email |e-mail |"
    r"new )?address (?:is|will be) (?!not|wrong|incorrect|different|out|in)|"
    r"\bmy (?:birthday|birth date|date of birth|dob) is (?!not|wrong|incorrect|shown|coming)|\bi was born (?:on|in) \w|"
    r"\bmy (?:phone|mobile|cell|telephone|account|customer|order|tracking|passport|social security|id|reference|"
    r"policy|booking|member|membership|card|routing|serial|license|licence) "
    r"(?:number|no|id|code)(?: is|:) (?!not|wrong|incorrect|invalid|missing|blocked|different|being|for|on|with|at)|"
    r"\bmy (?:ssn|email|e-mail|iban) is (?!not|wrong|incorrect)|"
    r"\b(?:i am|i'm|im) \d{1,3} (?:years?|yrs?)[ -]old|\bmy (?:wife|husband|son|daughter|boss|doctor|mother|father|"
    r"friend|boyfriend|girlfriend|partner|sister|brother) (?:is called|is named)\b",
    re.IGNORECASE,
)
_STREET = re.compile(
    r"\b\d{1,5}[a-z]? (?:[a-z]{2,20} ){1,3}(?:street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|court|"
    r"crescent|terrace|parkway)\b\.?"
    r"|\b[a-zäöüß]{3,30}(?:straße|strasse|str\.|gasse|platz|allee) \d{1,4}\b",
    re.IGNORECASE,
)
LONG_NUMBER = 9
"""Digits in a row that name something of somebody: an order, an account. Round ones are amounts."""


def is_personal(text: str) -> bool:
    """Tell whether a text holds personal data or a secret."""
    patterns = (_EMAIL, _SSN, _HARDWARE, _UUID, _KEY, _OWN, _STREET)
    return (
        any(pattern.search(text) for pattern in patterns)
        or any(_is_number_of_somebody(match.group()) for match in _DIGIT_GROUPS.finditer(text))
        or any(_is_iban(match.group()) for match in _IBAN.finditer(text))
        or any(_is_address(match) for match in _IPV4.finditer(text))
        or any(_is_secret(match["secret"]) for match in _GIVEN_SECRET.finditer(text))
        or any(_is_token(match.group()) for match in _TOKEN.finditer(text))
    )


def _is_number_of_somebody(written: str) -> bool:
    digits = "".join(char for char in written if char.isdecimal())
    groups = _GROUP.findall(written)
    if len(digits) >= 13 and luhn(digits):
        return True
    if len(groups) == 1:
        return len(digits) >= LONG_NUMBER and not digits.endswith("000000")
    if written.startswith("+"):
        return True
    is_date = len(groups) == 3 and sorted(map(len, groups)) in ([2, 2, 4], [1, 2, 4], [1, 1, 4]) and len(digits) <= 8
    if is_date or "." in written or "- " in written or " -" in written or min(map(len, groups)) < 2:
        return False
    local = len(groups) == 2 and "-" in written and len(digits) == 7
    return len(digits) >= 7 and (len(groups) >= 3 or written.startswith(("0", "(")) or local)


def luhn(digits: str) -> bool:
    """Check the last digit of a card's number."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(value - 9 if value > 9 else value for value in doubled)) % 10 == 0


def _is_iban(written: str) -> bool:
    plain = written.replace(" ", "").upper()
    turned = plain[4:] + plain[:4]
    if len(plain) < 15 or not turned.isascii():
        return False
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def _is_address(match: re.Match[str]) -> bool:
    valid = all(int(part) <= 255 for part in match.groups())
    return valid and not _PUBLIC_KNOWLEDGE.match(match.group())


def _is_secret(given: str) -> bool:
    has_more = any(char.isdigit() or not char.isalnum() for char in given.rstrip(".")) or (
        given != given.lower() and given[1:] != given[1:].lower()
    )
    return has_more and not _NO_SECRET.match(given)


def _is_token(word: str) -> bool:
    """Tell a key from a name: digits strewn among letters of both cases."""
    digits = sum(char.isdecimal() for char in word)
    turns = sum(one.isdecimal() != other.isdecimal() for one, other in pairwise(word))
    return digits >= 3 and turns >= 4 and word.lower() != word and word.upper() != word
