"""Words that say the same wherever a question uses them, as far as that can be said of words alone; and slips of writing.

Small on purpose: a word that is missing here costs a hit, one too many gives a wrong answer.
"""

from __future__ import annotations

from dispatcher.cache.guard.words import stem, word_set

_GROUPS = """
advantage benefit upside merit | disadvantage drawback downside | delete remove erase | repair fix mend | launch
start begin commence
end finish conclude | buy purchase | large big huge | small little tiny | fast quick rapid | select choose pick |
movie film | show display view see
allow permit | modify change alter | child kid | build construct | improve enhance | picture photo image photograph |
phone telephone | car automobile
error fault | purpose aim goal objective | type kind sort variety | reason cause | price cost | assist help aid |
sickness illness disease
doctor physician | lawyer attorney solicitor | house home | job occupation | ill sick | simple easy | hard difficult
tough | tv television
bike bicycle | fridge refrigerator | plane airplane aeroplane aircraft | autumn fall | holiday vacation | petrol
gasoline | flat apartment
lift elevator | pavement sidewalk | underground subway metro | lorry truck | rubbish garbage trash | tap faucet |
torch flashlight
mobile cellphone | shop store | maths math mathematics | application app | database db | directory folder |
configuration config
repository repo | environment env | parameter param argument | administrator admin | information info | directory dir
| specification spec
documentation doc docs | kubernetes k8s | javascript js | typescript ts | postgres postgresql | raspberry_pi rpi |
operating_system os
shut close | turn switch | obtain acquire | donate contribute | maximum max | minimum min | average mean |
approximate estimate
require need | verify confirm | illustrate depict | employ utilize | wipe erase | reply respond answer | ask inquire
enquire
happen occur | quick speedy | speak talk | gift present | smart clever intelligent | dangerous hazardous unsafe |
important essential crucial
wrong incorrect | correct accurate | rich wealthy | scared afraid | angry mad | tired exhausted | ocean sea | stone
rock | street road
city town | bug defect | feature characteristic trait | component part | area region | country nation | firm company
business
money cash | salary wage pay | tax levy | ceremony ritual | battle combat | weapon arm | author writer | physician
medic | medicine medication drug
baby infant | teenager adolescent | elderly senior | oven stove | couch sofa | rug carpet | cab taxi | luggage
baggage | purse handbag
jumper sweater | trousers pants | biscuit cookie | sweets candy | crisps chips | aubergine eggplant | courgette
zucchini | coriander cilantro
prawn shrimp | soccer football | hex hexadecimal | name list enumerate | weather_forecast forecast | immunization
vaccination | vaccine jab
fever temperature_high | hiccup hiccough | annually yearly | monthly month | purchase buy | lamp light | wallpaper
background
method approach technique | frequently often | regularly regular | identical same | various several | exam
examination | lab laboratory
ad advert advertisement | fax facsimile | gym gymnasium | photo_copy photocopy | prof professor | recommended
advisable | kitty cat | doggy dog
uninstall deinstall | login signin logon | logout signout logoff | cancel abort | reboot restart | fetch retrieve |
combine merge
rapidly quickly fast swift swiftly | slowly slow | safely safe | easily easy | properly correctly | cheaply cheap |
automatic automatically
temporary temporarily | permanent permanently | remote remotely | manual manually | legal legally | daily day
"""
# Fall is a season and a movement, an arm is no weapon to a doctor: what has two meanings is left out.
_TWO_MEANINGS = frozenset(
    stem(word)
    for word in word_set(
        "acquire aid approximate area argument arm average battle business cash chips city combat confirm"
        " correct daily day dir doc drug employ estimate fall fault firm gift hard help home levy light list"
        " mad mean mobile money month monthly name need obtain os pants part pay present region reply require"
        " respond road rock same sea see senior several sort street switch talk tax tough town ts turn verify"
        " view wrong"
    )
)

_LEADERS: dict[str, str] = {}


def _fill() -> None:
    for group in _GROUPS.replace("\n", " | ").split("|"):
        stems = [word for word in map(stem, group.split()) if word not in _TWO_MEANINGS and "_" not in word]
        leader = next((_LEADERS[word] for word in stems if word in _LEADERS), stems[0] if stems else "")
        for word in stems:
            _LEADERS.setdefault(word, leader)


_fill()
_LEADERS.update({stem("switch"): "turn"})

_CONFUSED = frozenset(
    tuple(sorted(pair.split("/")))
    for pair in word_set(
        "aesthetic/anesthetic bridal/bridle calender/calendar carousal/carousel casual/causal cavalry/calvary"
        " collage/college complacent/complaisant conversation/conservation corporal/corporeal country/county"
        " desert/dessert historic/historical hospitable/hospital immanent/imminent immorality/immortality"
        " indigent/indignant interstate/intrastate marital/martial morality/mortality ordinance/ordnance"
        " planing/planning populace/populous prenatal/parental preposition/proposition reserve/reverse"
        " statute/statue thorough/through unionized/ionized"
    )
)
_SLIP_LENGTH = 7
"""Letters of a word in which a slip is assumed; of shorter ones too many are other words."""


def meaning(word: str) -> str:
    """Give the word that stands for all that say the same as a stem."""
    return _LEADERS.get(word, word)


def is_slip(one: str, other: str) -> bool:
    """Tell whether two words are one with a slip: a letter left out, or two exchanged. A wrong letter is none: a nitrate is no
    nitrite."""
    if min(len(one), len(other)) < _SLIP_LENGTH or not (one.isalpha() and other.isalpha()) or one[0] != other[0]:
        return False
    if tuple(sorted((one, other))) in _CONFUSED or one[-1] != other[-1]:
        return False
    short, long = sorted((one, other), key=len)
    if len(long) == len(short) + 1:
        at = next((place for place, letter in enumerate(short) if letter != long[place]), len(short))
        return short[at:] == long[at + 1 :]
    if len(long) != len(short):
        return False
    wrong = [place for place, letter in enumerate(one) if letter != other[place]]
    return (
        len(wrong) == 2
        and wrong[1] == wrong[0] + 1
        and one[wrong[0]] == other[wrong[1]]
        and one[wrong[1]] == other[wrong[0]]
    )
