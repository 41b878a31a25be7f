"""Whether an answer holds only when and where the question is asked, or is wanted anew each time."""

from __future__ import annotations

import re

_SPAN = (
    "second|minute|hour|day|week|weekend|month|quarter|year|decade|century|morning|afternoon|evening|night|season|spring|summer|autumn|fall|winter|"
    "monday|tuesday|wednesday|thursday|friday|saturday|sunday|january|february|march|april|may|june|july|august|september|october|november|december|"
    "christmas|easter|thanksgiving|halloween"
)
_TIME = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|nowadays|currently|presently|right now|as of now|just now|at the moment|"
    r"at this moment|at present|so far this|"
    r"until now|up to date|these days|any news|breaking news|latest news|the news|headlines|as we speak|"
    rf"(?:this|these|last|next|coming|upcoming) (?:few |two |three |couple of |\d+ )?(?:{_SPAN})s?(?! of)|"
    r"latest(?! (?:date|time|day|point|you|i|possible|by))|newest|most recent|most recently|recent (?:news|events|"
    r"version|release|update|updates|developments)|"
    r"what (?:time|day|date|year|month) (?:is it|it is)|what is the (?:time|date|day|year|month)(?: (?:now|please|"
    r"in \w+(?: \w+)?))?$|(?:current|local|exact|present) (?:time|date|day)|"
    r"the time in \w+|day of the week is it|what (?:day|date) is (?:it|today)|"
    r"weather (?:like|in|for|forecast|report|outside|going|at|be|on|now)|(?:how|what|check) (?:is )?the weather|"
    r"will it (?:rain|snow|be (?:hot|cold|warm|sunny))|is it (?:raining|snowing|sunny|"
    r"hot outside|cold outside|going to (?:rain|snow))|do i need (?:an umbrella|a jacket|a coat)|temperature outside|"
    r"forecast for|"
    r"(?:stock|share|bitcoin|btc|ethereum|crypto|gold|oil|gas|petrol) price(?! (?:mean|work|form|index|range|list|tag))|"
    r"price of (?:bitcoin|btc|ethereum|gold|oil|gas|petrol|silver) |(?:stock|shares?) (?:trading|doing)|"
    r"current (?:\w+ )?(?:weather|temperature|prices?|rates?|president|minister|king|queen|pope|ceo|version|release|"
    r"status|state of|news|events?|champions?|record|balance|location|"
    r"situation|score|standings?|exchange|interest|mortgage|inflation|government|season|traffic|humidity|population|"
    r"year|month|week|trends?|leader|owner|value|holder|members?|"
    r"mayor|chancellor|governor|head|affairs|market|price|deals?|offers?|promotions?|bill|speed|volume|song|plans?)|"
    r"exchange rate (?:now|today|right)|what is the exchange rate|(?:how is|hows|how bad is|check) (?:the )?traffic|"
    r"(?:many days|many weeks|many months|many hours|many minutes) (?:is it |are there |left )?(?:until|till|to go)|"
    r"what (?:is|are) (?:open|on tv|playing|trending|happening)|who is winning|"
    r"(?:flight|order|delivery|application|package|train) status|is my flight|when (?:is|are|does|do|will|"
    r"would) (?:the |my |our )?next|how long ago|since (?:monday|tuesday|wednesday|thursday|friday|saturday|sunday))\b"
)
_NOW = re.compile(
    r"\b(?:what|who|which|is|are|where|when|much|many)\b.{0,200}"
    r"(?<!by)(?<!until)(?<!week)(?<!weeks)(?<!month)(?<!days)(?<!hours)(?<!while)(?<!times)(?<!do) now$"
)
_SAFE_CURRENT = re.compile(
    r"\bcurrent (?:account|accounts|transformer|source|density|divider|sensor|draw)\b|\balternating current|\bdirect current"
)
_PLACE = re.compile(
    r"\b(?:near me|nearby|near here|around here|close by|near by|close to (?:me|here|my)|around me|near my|"
    r"from here(?! on)|where am i(?! able| allowed| supposed| going| getting)|my (?:current )?location|my area|"
    r"my city|my town|my neighborhood|my neighbourhood|"
    r"in this (?:city|town|area|place|neighborhood|neighbourhood|country)|(?:nearest|closest) (?:\w+ )?(?:to me|"
    r"to here|to my|gas|station|atm|bank|branch|restaurant|hospital|pharmacy|store|"
    r"shop|supermarket|hotel|airport|cafe|bar|bus|subway|metro|parking|toilet|restroom|post office|library|dentist|"
    r"doctor|clinic|park|gym|mechanic|grocery|pizza|starbucks|walmart|place)|"
    r"^(?:what|which|where) (?:\w+ ){0,3}here$|directions to (?!get a|use|make|cook|change|set)|how do i get (?:home|"
    r"to work|to the (?:airport|station|nearest))|where i am|what country am i|what city am i|is my time ?zone|"
    r"what timezone am i)\b"
)
_MADE = (
    "poems?|songs?|stor(?:y|ies)|jokes?|haikus?|limericks?|raps?|lyrics|novels?|tales?|verses?|sonnets?|slogans?|taglines?|speech(?:es)?|toasts?|riddles?|puns?|"
    "ballads?|fables?|fairy tales?|bedtime stor(?:y|ies)|screenplays?|plays?|monologues?|dialogues?|greeting"
    " cards?|love letters?|compliments?|insults?|pick-?up lines?|"
    "fun facts?|trivia|quotes?|anecdotes?|tweets?|captions?|bios?|blog posts?|essays?|puzzles?|prompts?|names?"
    " for|usernames?|nicknames?|passwords?|passphrases?|memes?|parod(?:y|ies)"
)
_VARIETY = re.compile(
    r"\b(?:surprise me|amuse me|entertain me|cheer me up|inspire me|make me laugh|i am bored|"
    r"(?:pick|choose|give|generate|tell|select|suggest|play|think of|roll)\b.{0,60}\brandom(?:ly)?\b|"
    r"(?:a|some|any|another) random (?:number|word|fact|name|colou?r|letter|card|joke|quote|song|movie|film|book|"
    r"recipe|animal|country|city|topic|question|password|string|emoji)s?|"
    r"(?:roll|throw) (?:a|the|two|some|\d+|another|me a|me the|an?)?\s?(?:\w+ sided )?(?:dice|die|d\d+)|(?:flip|"
    r"toss) (?:a|the|my|another|me a)? ?coin|heads or tails|"
    r"(?:draw|pick|choose) (?:a|any|me a) (?:card|number|colou?r|letter|winner)|"
    rf"(?:write|tell|compose|make|create|generate|give|invent|sing|draft|share|come up with|think of|make up|"
    rf"do you know any)(?: me| us| up)?(?: an?| some| any| another| one| the| your| few| your best|"
    rf" \d+)?(?: \w+){{0,2}} (?:{_MADE})\b(?! (?:work|mean|in python|using|end|structure|form|format)\b)|"
    r"something (?:funny|interesting|new|random|amusing|cool|clever|weird)|(?:brainstorm|ideas (?:for|on|"
    r"about) (?!why|what|how|when|where|if)|(?:give|suggest|need)(?: me| us)?(?: an?| any| some| \w+)? ideas?)|"
    r"(?:give|tell|show|write|suggest)(?: me| us) (?:another|one more|a different|some other|some more)|"
    r"play (?:a |some |any )?(?:game|music)|let us play|pretend (?:to be|you)|roleplay|role play|(?:a|"
    r"some) different (?:one|answer|version))\b"
)


def depends_on_time(text: str) -> bool:
    """Tell whether the answer holds only now. `text` is the words in lower case, contractions written out, one blank between.

    Who holds an office is no such question: a model knows one answer to it, and entries live an hour unless told otherwise.
    """
    return bool(_TIME.search(_SAFE_CURRENT.sub("", text)) or _NOW.search(text))


def depends_on_place(text: str) -> bool:
    """Tell whether the answer holds only where it is asked."""
    return _PLACE.search(text) is not None


def wants_another(text: str) -> bool:
    """Tell whether something new is wanted each time: by lot, or made up. Who asks twice for a joke or a poem wants two."""
    return _VARIETY.search(text) is not None
