"""Whether a question can be understood by itself: of one that leans on what was said before, its words don't tell what it asks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dispatcher.cache.guard.kinds import Ask
from dispatcher.cache.guard.reading import Reading
from dispatcher.cache.guard.words import ARTICLES, BE, stem, word_set

_HEADS = re.compile(
    r"(?:and|but|or|nor)\b(?! (?:gate|gates)\b)|(?:(?:ok|okay|so|well|hey|hi) )?(?:what|how) about\b|why(?: (?:not|"
    r"so|then|is that|is this|is it|though))?$|how so$|how come$|"
    r"(?:go on|continue|keep going|carry on|elaborate|more|again|next|another|one more|same|really|sure|yes|no|nope|"
    r"yep|yeah|right|wrong|"
    r"correct|exactly|thanks|thank you|ok|okay|hello|hi|hey|bye|goodbye|cool|great|nice|good)$|"
    r"(?:say|do|try|explain|repeat|tell me|show me|write|run|answer) (?:it |that |this |me |the same )?(?:again|more|"
    r"further|better|differently)\b|"
    r"(?:another|one more|some more|more|same|the same|in (?:more|less|other)|the (?:first|second|third|last|other|"
    r"former|latter|next|previous)$)\b"
    r"(?! (?:than|important|efficient|common|(?:\w+ )?(?:info|information|details?) (?:about|on))\b)|"
    r"(?:what|who|where|when|how|anything|anyone|something|anybody|which) (?:else|other ones?)\b|is (?:that|this|"
    r"it) (?:all|right|true|correct|so|it|everything)$|"
    r"are you (?:sure|certain|serious)\b|then\b|also\b|instead\b(?! of)|because\b|i mean\b|not (?:that|this|what|"
    r"really|quite)\b"
)
_INSIDE = re.compile(
    r"\b(?:you (?:just |already |have )?(?:said|mentioned|told|wrote|suggested|gave|listed|explained|recommended)|"
    r"i (?:just |already )?(?:said|told you|mentioned)|"
    r"(?:your|the|my) (?:last|previous|earlier|above|prior) (?:answer|message|question|response|reply|point|example|"
    r"code|sentence|paragraph|one|suggestion|prompt|list)|"
    r"as (?:above|before|previously|mentioned)|the above|mentioned above|see above|we (?:discussed|talked|"
    r"were (?:talking|discussing))|"
    r"(?:the|your|that|this) (?:first|second|third|fourth|fifth|last|next|other|previous|former|latter|red|blue|"
    r"green|big|small) ones?|"
    r"the (?:latter|former)$|(?:first|second|third|fourth|last) (?:point|option|suggestion|bullet|idea)|"
    r"(?:point|option|bullet|item|suggestion) (?:number )?(?:\d|one|two|three|four|five)\b|"
    r"(?:this|that|these|those|the (?:attached|following|given)) (?:code|text|function|snippet|passage|article|image|"
    r"picture|photo|document|file|sentence|paragraph|"
    r"answer|question|example|list|story|poem|essay|letter|message|command|script|class|method|diagram|table|"
    r"translation|formula|equation|"
    r"argument|idea|case|way|topic|concept|approach)(?! (?:is called|:))\b(?! that\b)|"
    r"do you (?:still )?remember|earlier you|our (?:conversation|chat|discussion))\b"
)
_EMPTY_IT = re.compile(
    r"\b(?:is|was|would|will|has|can|could|may|should|does|did|do)(?: not)? it(?: \w+){0,2} (?:possible|legal|"
    r"illegal|safe|true|ok|okay|allowed|permitted|necessary|better|bad|good|"
    r"worth|normal|hard|easy|difficult|dangerous|common|likely|true|fair|healthy|rude|important|required|mandatory|"
    r"compulsory|take|takes|cost|mean to|matter|hurt|rain|"
    r"raining|snow|snowing|feel|happen|work to|too late|late|free|fine|that|cold|hot|warm|dark|been|called|said|"
    r"known|about time|time|unusual|wise|smart|cheaper|faster|"
    r"enough|correct to|wrong to|right to|advisable|harmful|haram|halal|like to|a good|a bad|a crime|an offence|"
    r"impossible)\b|"
    r"\bit (?:is|was|be|would be|will be|gets|became|has|had|might be|may be|could be|"
    r"can be)(?: \w+){0,2} (?:possible|legal|illegal|safe|true|ok|okay|allowed|permitted|necessary|better|"
    r"worth|normal|hard|easy|difficult|dangerous|common|likely|that|called|been|hot|cold|raining|dark|said|late|time|"
    r"known|day|night|winter|summer)\b|"
    r"\b(?:like|appreciate|love) it if\b|\bit mean (?:when|if|that|for)\b|\bis it to\b|\b(?:is it|make it|makes it|"
    r"find it|it is|it was) \w+ (?:to|for|that|if|when)\b|\bit (?:take|takes|took|seem|seems|seemed|look|looks|"
    r"looked|appear|appears|turns out|says|said|rains|snows|"
    r"rain|snow|has been|have been|costs?|cost to|mean to|feels? like|hurts? to|hurts? when|happens? that|comes? to|"
    r"depends)\b|"
    r"\b(?:how (?:far|long|late|much) (?:is|was|does|will|would|did|has) it|what (?:time|day|date|year|month) is it|"
    r"is it that|get it to|it be|as it is|as it were|when it (?:is|gets|comes)|if it (?:is|gets|comes|rains))\b"
)
_PRONOUNS = word_set("it its he him his she her hers they them their theirs")
_STRICT = word_set("it its he him his she her hers")
_POINTERS = frozenset(["this", "that", "these", "those"])
_BEFORE_POINTER = word_set(
    "is was are were does did do about like of for with than to why how explain mean doing from on in by after"
    " before what until into"
)
_BEHIND_POINTER = word_set(
    "one ones mean means work works happen happens do does did to in for and not can will would should affect apply compare so with"
    " as on at again from true possible"
)
_OBJECTLESS = frozenset(
    stem(word)
    for word in word_set(
        "add again ahead another answer awesome better bit brief briefly bullet bullets chinese clarify clear"
        " clearer code compare concise continue correct csv depth detail details different elaborate english"
        " error example examples expand first fix formal format french further german give go good got great"
        " improve info information italian java javascript job json last line lines link links list little"
        " long longer make markdown more next nice output paragraph paragraphs part perfect point points"
        " polite provide python reference references repeat rephrase response rest result reword rewrite right"
        " run say second sentence sentences short shorten shorter show simple simpler simplify source sources"
        " spanish specific step steps summarise summarize summary sure table term terms test translate"
        " understand version word words work write wrong yaml"
    )
)
"""An order of nothing but these has no object: `translate to French`, `give me an example`."""


ENOUGH_BEHIND = 3
"""Words with a meaning behind a pronoun that say what it is about: `it won't let me activate my card`."""


def leans(reading: Reading) -> bool:
    """Tell whether a question leans on something outside it."""
    words = reading.words
    text = " ".join(words)
    head = " ".join(words[len(words) - reading.bare :]) if reading.bare else text
    if _HEADS.match(text) or _HEADS.match(head) or _INSIDE.search(text):
        return True
    if (
        reading.kind in (Ask.DO, Ask.STATEMENT)
        and reading.content
        and set(reading.content) <= _OBJECTLESS
        and not any(name.startswith('"') for name in reading.names)
    ):
        return True
    return _which_one(words) or _points_outside(words, reading) or _stands_for_nothing(reading, text)


def _which_one(words: Sequence[str]) -> bool:
    for place, word in enumerate(words[:-1]):
        if (
            word == "which"
            and words[place + 1] in ("one", "ones")
            and "or" not in words
            and "of" not in words[place:]
            and place < 2
        ):
            return True
    return False


def _points_outside(words: Sequence[str], reading: Reading) -> bool:
    """`what does this mean`, `why is that`: a pointer with no noun behind it, and nothing before it to point at."""
    for place, word in enumerate(words):
        if word not in _POINTERS or _nouns_before(words, place, reading):
            continue
        if _words_that_carry(words[place + 1 :], reading) >= ENOUGH_BEHIND:
            continue
        after = words[place + 1] if place + 1 < len(words) else ""
        before = words[place - 1] if place else ""
        ends = not after or after in BE or after in _BEHIND_POINTER
        if word == "that":
            ends = ends and (before in _BEFORE_POINTER or not place)
        if ends:
            return True
    return False


def _stands_for_nothing(reading: Reading, text: str) -> bool:
    words = reading.words
    for place, word in enumerate(words):
        if word not in _PRONOUNS or _nouns_before(words, place, reading):
            continue
        if word == "it" and _EMPTY_IT.search(text):
            continue
        behind = _words_that_carry(words[place + 1 :], reading)
        if behind < (ENOUGH_BEHIND if word in _STRICT else 2):
            return True
    return False


def _words_that_carry(words: Sequence[str], reading: Reading) -> int:
    carried = set(reading.content)
    return sum(stem(word) in carried for word in words)


def _nouns_before(words: Sequence[str], place: int, reading: Reading) -> bool:
    """Tell whether something before a pronoun can be what it stands for: an article or possessive with a word, or several words."""
    before = words[:place]
    determined = any(word in ARTICLES and word not in _POINTERS and at + 1 < place for at, word in enumerate(before))
    return determined or _words_that_carry(before, reading) >= 2
