"""The small words of English and the stems of the others: plurals and endings folded, and no dictionary. Pure tables, and what
looks things up in them."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """Give the words of a text as a set: as a text a table reads better."""
    return frozenset(text.split())


CONTRACTIONS = {
    "can't": "can not", "cannot": "can not", "cant": "can not", "won't": "will not", "wont": "will not",
    "shan't": "shall not",
    "ain't": "is not", "aint": "is not", "dont": "do not", "doesnt": "does not", "didnt": "did not", "isnt": "is not",
    "arent": "are not", "wasnt": "was not", "werent": "were not", "hasnt": "has not", "havent": "have not",
    "hadnt": "had not",
    "couldnt": "could not", "shouldnt": "should not", "wouldnt": "would not", "mustnt": "must not", "whats": "what is",
    "hows": "how is", "wheres": "where is", "whos": "who is", "whens": "when is", "thats": "that is",
    "theres": "there is",
    "im": "i am", "ive": "i have", "youre": "you are", "theyre": "they are", "let's": "let us", "i'd": "i would",
    "gonna": "going to", "wanna": "want to", "gotta": "have to", "gimme": "give me", "lemme": "let me", "pls": "please",
    "plz": "please", "u": "you", "ur": "your", "unable": "not able", "y'all": "you",
}  # fmt: skip  # as tables of words these read better
"""What is written in one word and means two."""

ENDINGS = {"'re": "are", "'ve": "have", "'ll": "will", "'d": "would", "'m": "am"}
IS_AFTER = word_set("what who where when how why that there here it he she this which everything something")
"""After these, 's is `is`; after others it is whose."""

ARTICLES = word_set("a an the this that these those my your his her its our their some such own")
PRONOUNS = word_set(
    "i me you he him she it we us they them one ones myself yourself itself themselves someone somebody anyone people"
)
BE = word_set("be is are am was were been being")
AUXILIARIES = BE | word_set("do does did doing done have has had having get gets got getting gotten let")
MODALS = {
    "can": "can", "could": "can", "able": "can", "may": "may", "might": "may", "must": "must", "shall": "should",
    "should": "should", "ought": "should", "will": "will", "would": "would", "need": "must", "needs": "must",
    "needed": "must",
}  # fmt: skip
QUESTION_WORDS = word_set("what who whom whose which when where why how")
LINKS = word_set(
    "and or but nor so yet also too as than then if whether because since though although while that which who whose"
)
WEAK_PREPOSITIONS = word_set("of for in at on with about regarding concerning within among along across around onto")
POLITE = word_set("please kindly just actually really basically exactly simply quite very so much there here anyway")
FRAMES = word_set("explain describe define want like wonder wondering try trying mean means meaning question way ways")
"""What frames a question more than it asks: they count as content only where nothing else is left."""

FUNCTION_WORDS = (
    ARTICLES | PRONOUNS | AUXILIARIES | frozenset(MODALS) | QUESTION_WORDS | LINKS | WEAK_PREPOSITIONS | POLITE | FRAMES
)

CONDITIONS = {
    "if": "if", "when": "if", "whenever": "if", "unless": "unless", "because": "because", "since": "because",
    "although": "although",
    "though": "although", "despite": "although", "until": "until", "till": "until", "while": "while",
    "whereas": "while",
}  # fmt: skip
QUANTIFIERS = {
    "all": "all", "every": "all", "each": "all", "everything": "all", "everyone": "all", "everybody": "all",
    "always": "all",
    "any": "any", "anything": "any", "anybody": "any", "some": "some", "sometimes": "some", "several": "several",
    "few": "few",
    "fewer": "fewer", "many": "many", "both": "both", "either": "either", "only": "only", "entire": "all",
    "whole": "all", "most": "most", "partly": "some", "partially": "some", "fully": "all", "completely": "all",
    "entirely": "all",
    "last": "last", "another": "another", "other": "other", "else": "other", "often": "often", "usually": "often",
    "rarely": "rarely", "seldom": "rarely", "ever": "ever", "almost": "almost", "nearly": "almost", "least": "least",
    "single": "single", "multiple": "several",
}  # fmt: skip
NEGATIONS = {
    "not": "not", "no": "not", "none": "not", "nothing": "not", "nobody": "not", "nowhere": "not", "neither": "not",
    "nor": "not",
    "never": "never", "without": "without", "lacking": "without", "minus": "without", "except": "except",
    "excluding": "except",
    "besides": "except", "unless": "unless", "stop": "stop", "quit": "stop", "cease": "stop", "avoid": "avoid",
    "prevent": "avoid",
    "refuse": "avoid", "hardly": "hardly", "barely": "hardly", "scarcely": "hardly", "fail": "fail", "fails": "fail",
    "failed": "fail", "failing": "fail", "lack": "without", "lacks": "without", "instead": "instead",
    "rather": "instead",
    "false": "false", "untrue": "false", "incorrect": "false", "wrong": "false", "impossible": "not", "unlike": "not",
}  # fmt: skip
FOREIGN_NEGATIONS = {
    "de": word_set("nicht kein keine keinen keinem keiner keines nie niemals nichts niemand ohne außer"),
    "fr": word_set("ne pas jamais rien personne aucun aucune sans sauf ni"),
    "es": word_set("no nunca jamás nada nadie ningún ninguna ninguno sin excepto salvo ni"),
    "it": word_set("non mai niente nulla nessuno nessuna senza tranne né"),
    "pt": word_set("não nunca jamais nada ninguém nenhum nenhuma sem exceto"),
    "nl": word_set("niet geen nooit niets niemand zonder behalve"),
    "pl": word_set("nie nigdy nic nikt bez oprócz"),
    "ru": word_set("не нет никогда ничего никто без кроме"),
}
LANGUAGE_WORDS = {
    "de": word_set(
        "der das und ist ein eine einen wie wer wo warum wann welche welcher welches ich du wir sie mit für von auf"
        " zu zum zur"
        " den dem des im am nicht kein kann man mein meine sind hat haben wird werden bei aus über nach oder als"
        " auch es gibt"
    ),
    "fr": word_set(
        "le la les un une des du et est que qui quoi quel quelle quels quelles comment pourquoi où quand je tu nous"
        " vous il elle"
        " dans pour avec sur pas ne mon ma mes ce cette sont peut faire combien au aux par en fait-on puis-je qu c l d"
    ),
    "es": word_set(
        "el la los las un una y es qué que quién quien cómo como por dónde donde cuándo cuando cuál cuántos cuántas"
        " yo tú en de del"
        " para con mi mis su se al no puedo puede son está hay hacer más"
    ),
    "it": word_set(
        "il lo la gli le un una e è che chi cosa come perché dove quando quale quanto quanti in di del della per con"
        " non mio sono"
        " si può posso fare nel nella"
    ),
    "pt": word_set(
        "o os as um uma e é que quem qual como porque onde quando em de do da para com não meu minha se posso são"
        " fazer no na"
    ),
    "nl": word_set(
        "de het een en is wat wie waar waarom wanneer hoe welke ik je wij met voor van op niet geen kan mijn zijn"
        " heeft naar"
    ),
    "pl": word_set("jak co kto gdzie kiedy dlaczego jest się nie w na z do czy ile który która które mam mogę to i"),
    "sv": word_set("hur vad vem var varför när och är en ett jag du vi med för av på inte kan min att det som"),
    "tr": word_set("nas\u0131l kim nerede neden niçin ve bir bu için ile mi m\u0131 mu kaç hangi değil var yok"),
}
ENGLISH_WORDS = (
    FUNCTION_WORDS
    | frozenset(NEGATIONS)
    | word_set(
        "to from by into out up down over under before after between many long much make use find if my more most best"
    )
)

IRREGULAR = {
    form: base
    for base, forms in {
        "write": "wrote written", "buy": "bought", "sell": "sold", "lend": "lent", "take": "took taken",
        "go": "went gone goes",
        "see": "saw seen", "speak": "spoke spoken", "break": "broke broken", "choose": "chose chosen",
        "drive": "drove driven",
        "eat": "ate eaten", "fall": "fell fallen", "find": "found", "fly": "flew flown", "forget": "forgot forgotten",
        "freeze": "froze frozen", "grow": "grew grown", "hide": "hid hidden", "hold": "held", "keep": "kept",
        "know": "knew known",
        "lead": "led", "leave": "left", "lose": "lost", "make": "made", "meet": "met", "pay": "paid", "run": "ran",
        "send": "sent", "shake": "shook shaken", "sing": "sang sung", "sink": "sank sunk", "sit": "sat",
        "sleep": "slept",
        "steal": "stole stolen", "swim": "swam swum", "teach": "taught", "tear": "tore torn", "think": "thought",
        "throw": "threw thrown", "understand": "understood", "wear": "wore worn", "win": "won", "begin": "began begun",
        "bite": "bit bitten", "build": "built", "catch": "caught", "come": "came", "draw": "drew drawn",
        "drink": "drank drunk",
        "feed": "fed", "fight": "fought", "give": "gave given", "hear": "heard", "rise": "rose risen",
        "ride": "rode ridden",
        "shoot": "shot", "spend": "spent", "stand": "stood", "beat": "beaten", "become": "became", "bring": "brought",
        "say": "said", "tell": "told", "child": "children", "man": "men", "woman": "women", "person": "people persons",
        "mouse": "mice", "foot": "feet", "tooth": "teeth", "goose": "geese", "analysis": "analyses", "datum": "data",
        "index": "indices indexes", "matrix": "matrices", "vertex": "vertices", "wife": "wives", "wolf": "wolves",
        "leaf": "leaves", "knife": "knives", "life": "lives", "die": "died dies dying", "lie": "lying",
        "tie": "tied tying",
        "color": "colour colours", "center": "centre centres", "meter": "metre metres", "liter": "litre litres",
        "program": "programme programmes", "behavior": "behaviour", "favorite": "favourite", "gray": "grey",
        "catalog": "catalogue",
        "aluminum": "aluminium", "sulfur": "sulphur", "license": "licence", "defense": "defence",
        "check": "cheque cheques",
        "fiber": "fibre", "theater": "theatre", "tire": "tyre tyres", "disk": "disc discs", "email": "e-mail emails",
        "planning": "plan", "bus": "buses", "gas": "gases", "hero": "heroes", "potato": "potatoes",
        "tomato": "tomatoes",
        "ox": "oxen", "criterion": "criteria", "phenomenon": "phenomena", "bacterium": "bacteria",
    }.items()
    for form in forms.split()
}  # fmt: skip

PARTICIPLES = word_set(
    "written bought sold lent taken seen spoken broken chosen driven eaten found forgotten frozen grown hidden held"
    " kept known led left"
    " lost made met paid sent shaken sung sunk stolen taught torn thrown understood worn won begun bitten built"
    " caught drawn drunk fed"
    " fought given heard shot spent beaten brought said told cut put set read done called"
)
PAST_FORMS = word_set(
    "wrote bought sold lent took went saw spoke broke chose drove ate fell found flew forgot froze grew hid held"
    " kept knew led left lost"
    " made met paid ran sent shook sang sank sat slept stole swam taught tore thought threw understood wore won"
    " began bit built caught"
    " came drew drank fed fought gave heard rose rode shot spent stood became brought said told hired born died"
)

_VOWELS = frozenset("aeiouy")
_WHOLE = word_set(
    "news always this his its is was has does gas bus plus lens series species physics mathematics economics"
    " politics kubernetes"
    " during thing nothing something anything everything morning evening spring string king ring bring wing red bed"
    " need speed seed"
    " feed hundred indeed united ceiling chess less unless across jenkins redis windows kansas texas paris mars"
    " athens brussels"
    " naples wales sing ping wedding building meaning bing boeing beijing diabetes athletics analytics aids"
)


def stem(word: str) -> str:
    """Fold a lower-case word's plural, endings and spelling, lightly: what is not the same word must not become so."""
    word = IRREGULAR.get(word, word)
    if len(word) <= 3 or word in _WHOLE or not word.isalpha():
        return word
    word = _without_plural(word)
    return _without_ending(IRREGULAR.get(word, word))


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _without_ending(word: str) -> str:
    if word.endswith("ied") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("ing") and len(word) > 5:
        word = _base(word[:-3], word)
    elif word.endswith("ed") and len(word) > 4 and not word.endswith("eed"):
        word = _base(word[:-2], word)
    if word.endswith("ie") and len(word) > 4:
        return word[:-2] + "y"
    if word.endswith(("yse", "yze", "ise")) and len(word) > 5:
        return word[:-2] + "z"
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def _base(cut: str, whole: str) -> str:
    if len(cut) < 3 and not (len(cut) == 2 and cut[0] in _VOWELS):
        return whole if not _VOWELS & set(cut) else cut
    if not _VOWELS & set(cut):
        return whole
    if cut.endswith(("is", "ys")) and len(cut) > 5:  # -ise is -ize
        return cut[:-1] + "z"
    doubled = cut[-1] == cut[-2] and cut[-1] not in "lsz"
    return cut[:-1] if doubled else cut
