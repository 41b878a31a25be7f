"""Words that turn a question round when one stands in the other's place. A table of our own, looked up by stem."""

from __future__ import annotations

from dispatcher.cache.guard.words import stem

_PAIRS = """
from/to into/out before/after above/below over/under up/down on/off in/out inside/outside with/without for/against
since/until
buy/sell buyer/seller purchase/sale lend/borrow lender/borrower give/take give/receive send/receive sender/recipient
sender/receiver
import/export importer/exporter deposit/withdraw deposit/withdrawal credit/debit debtor/creditor income/expense
profit/loss gain/lose
gain/loss win/lose winner/loser victory/defeat earn/spend save/spend save/waste asset/liability employer/employee
hire/fire
landlord/tenant lessor/lessee teacher/student doctor/patient plaintiff/defendant prosecutor/defendant
prosecution/defense parent/child
husband/wife father/mother son/daughter brother/sister king/queen man/woman boy/girl male/female uncle/aunt guest/host
predator/prey author/reader writer/reader client/server master/slave primary/replica leader/follower producer/consumer
publisher/subscriber publish/subscribe push/pull upload/download read/write input/output encode/decode encrypt/decrypt
encryption/decryption compress/decompress compress/expand compression/decompression zip/unzip pack/unpack
serialize/deserialize
serialization/deserialization lock/unlock open/close opening/closing opened/closed start/stop begin/end beginning/end
start/finish
start/end first/last initial/final install/uninstall installation/removal enable/disable activate/deactivate
connect/disconnect
attach/detach mount/unmount load/unload plug/unplug add/remove add/delete add/subtract addition/subtraction
addition/removal
plus/minus multiply/divide multiplication/division integrate/differentiate integral/derivative create/delete
create/destroy
build/destroy make/break insert/delete insert/remove append/remove join/leave join/split merge/split enter/exit
entry/exit login/logout
arrive/depart arrival/departure come/go increase/decrease increase/reduce raise/lower rise/fall grow/shrink
expand/contract
expansion/contraction widen/narrow lengthen/shorten strengthen/weaken improve/worsen accelerate/brake
accelerate/decelerate speed/slow
heat/cool heating/cooling warm/cool warmer/cooler freeze/thaw freeze/melt freeze/boil melt/solidify evaporate/condense
evaporation/condensation inhale/exhale attract/repel attraction/repulsion charge/discharge inflate/deflate
inflation/deflation fill/empty
full/empty maximum/minimum maximize/minimize max/min most/least more/less more/fewer many/few best/worst better/worse
good/bad high/low higher/lower highest/lowest tall/short taller/shorter tallest/shortest long/short longer/shorter
longest/shortest
big/small bigger/smaller biggest/smallest large/small larger/smaller largest/smallest great/small wide/narrow
widest/narrowest thick/thin
thicker/thinner deep/shallow deepest/shallowest heavy/light heavier/lighter heaviest/lightest fast/slow faster/slower
fastest/slowest
quick/slow quickest/slowest early/late earlier/later earliest/latest old/new older/newer oldest/newest old/young
older/younger
oldest/youngest hot/cold hotter/colder hottest/coldest warm/cold dry/wet drier/wetter hard/soft hard/easy
harder/easier hardest/easiest
difficult/easy simple/complex cheap/expensive cheaper/costlier cheapest/costliest cheapest/dearest rich/poor
richer/poorer
strong/weak stronger/weaker strongest/weakest safe/dangerous safe/risky bright/dark light/dark dim/bright
brighten/dim loud/quiet
louder/quieter near/far nearest/farthest closest/farthest nearest/furthest closest/furthest left/right top/bottom
upper/lower front/back
forward/backward forwards/backwards clockwise/anticlockwise clockwise/counterclockwise north/south east/west
northern/southern
eastern/western northward/southward horizontal/vertical row/column internal/external interior/exterior inner/outer
indoor/outdoor
upstream/downstream inbound/outbound incoming/outgoing ingress/egress ascending/descending ascend/descend ascent/descent
positive/negative true/false right/wrong correct/incorrect correct/wrong valid/invalid legal/illegal lawful/unlawful
allow/forbid
allow/deny allow/block allow/prohibit permit/forbid permit/prohibit allowed/banned accept/reject accept/decline
accept/refuse approve/deny
approve/reject approval/rejection grant/revoke include/exclude inclusive/exclusive required/optional
mandatory/optional mandatory/voluntary
guilty/innocent convict/acquit conviction/acquittal civil/criminal public/private federal/state domestic/foreign
domestic/international
local/remote local/global offline/online wired/wireless static/dynamic mutable/immutable synchronous/asynchronous
sync/async
abstract/concrete signed/unsigned odd/even prime/composite real/imaginary rational/irrational finite/infinite
discrete/continuous
linear/nonlinear parallel/serial parallel/perpendicular series/parallel convex/concave acute/obtuse acute/chronic
benign/malignant
hypertension/hypotension hyperthyroidism/hypothyroidism hyperglycemia/hypoglycemia bacterial/viral artery/vein
systolic/diastolic
systole/diastole afferent/efferent dilate/constrict agonist/antagonist inhibit/activate inhibit/stimulate
prevent/cause cure/cause cause/effect
cause/consequence cause/treat symptom/cause advantage/disadvantage pro/con benefit/drawback benefit/risk
strength/weakness
similarity/difference same/different similar/different equal/unequal like/dislike love/hate like/hate agree/disagree
support/oppose
defend/attack attack/defense friend/enemy ally/enemy war/peace peace/conflict optimist/pessimist
optimistic/pessimistic happy/sad
success/failure succeed/fail pass/fail passed/failed healthy/sick healthy/unhealthy alive/dead live/die birth/death
born/died born/die
present/absent presence/absence appear/disappear show/hide visible/hidden reveal/conceal find/lose remember/forget
awake/asleep
wake/sleep stand/sit day/night sunrise/sunset dawn/dusk morning/evening am/pm summer/winter spring/autumn spring/fall
yesterday/tomorrow
past/future ancient/modern prehistoric/modern old-fashioned/modern temporary/permanent always/never often/rarely
frequently/rarely all/none
everyone/nobody everything/nothing some/none any/none both/neither major/minor sharp/flat treble/bass soprano/bass
crescendo/diminuendo
solo/duet acoustic/electric home/away offense/defense offensive/defensive amateur/professional amateur/pro
host/visitor acid/base
acidic/alkaline acid/alkali cation/anion anode/cathode proton/electron oxidation/reduction oxidize/reduce oxidise/reduce
endothermic/exothermic reactant/product solute/solvent mitosis/meiosis eukaryotic/prokaryotic eukaryote/prokaryote
herbivore/carnivore
vertebrate/invertebrate monocot/dicot dominant/recessive genotype/phenotype convection/conduction
refraction/reflection concave/convex
organic/inorganic raw/cooked fresh/frozen fresh/stale sweet/sour sweet/savory sweet/bitter salted/unsalted
sweetened/unsweetened
boil/freeze fry/bake ripe/unripe fixed/variable gross/net bull/bear bullish/bearish long-term/short-term supply/demand
surplus/deficit appreciate/depreciate appreciation/depreciation asset/debt wholesale/retail principal/interest
call/put senior/junior
superior/inferior supervisor/subordinate boss/employee majority/minority singular/plural noun/verb synonym/antonym
vowel/consonant
active/passive formal/informal uppercase/lowercase prefix/suffix question/answer ask/answer ask/reply
literal/figurative prose/verse
fiction/nonfiction comedy/tragedy hero/villain host/guest host/parasite domestic/wild tame/wild vertical/lateral
latitude/longitude
zenith/nadir equator/pole arctic/antarctic urban/rural city/village coast/inland import/exported immigrate/emigrate
immigration/emigration
immigrant/emigrant departure/return outward/return round-trip/one-way check-in/check-out takeoff/landing land/launch
board/disembark
upgrade/downgrade upvote/downvote follow/unfollow subscribe/unsubscribe mute/unmute block/unblock pin/unpin
archive/unarchive
tie/untie dress/undress wrap/unwrap fold/unfold roll/unroll screw/unscrew tighten/loosen bind/release catch/release
hold/release capture/free
arrest/release sink/float rise/sink ancestor/descendant predecessor/successor precede/follow previous/next
prior/subsequent former/latter
debug/release commit/revert undo/redo encoder/decoder sender/addressee transmitter/receiver speaker/microphone
speaker/listener
hardware/software frontend/backend upper/lower stack/queue push/pop enqueue/dequeue head/tail head/toe ceiling/floor
roof/basement
allocate/free acquire/release throw/catch raise/catch assert/deny affirm/deny confirm/deny claim/deny admit/deny
lead/follow push/pull
"""

_OPPOSITES: dict[str, frozenset[str]] = {}


def _fill() -> None:
    both: dict[str, set[str]] = {}
    for pair in _PAIRS.split():
        one, other = (stem(side.replace("-", "")) for side in pair.split("/"))
        if one != other:
            both.setdefault(one, set()).add(other)
            both.setdefault(other, set()).add(one)
    _OPPOSITES.update({word: frozenset(others) for word, others in both.items()})


_fill()

_PREFIXES = ("un", "in", "im", "ir", "il", "dis", "non", "mis", "de", "anti", "counter", "under", "over", "hypo", "hyper", "pre", "post", "sub", "super", "intra", "inter", "micro", "macro")  # fmt: skip  # noqa: E501
_EXCHANGED = ("hypo", "hyper", "under", "over", "pre", "post", "in", "out", "up", "down", "micro", "macro", "inter", "intra", "mono", "poly", "endo", "exo", "homo", "hetero", "max", "min", "sub", "super")  # fmt: skip  # noqa: E501
LEAST_BASE = 4
"""Letters of a base that a prefix negates: `unlock` of `lock`; shorter ones are other words more often than not."""


def opposed(one: str, other: str) -> bool:
    """Tell whether two stems turn a question round: of the table, or one a negating prefix before the other."""
    if other in _OPPOSITES.get(one, ()):
        return True
    short, long = sorted((one, other), key=len)
    if len(short) >= LEAST_BASE and long.endswith(short) and long[: len(long) - len(short)] in _PREFIXES:
        return True
    return _with_another_prefix(one, other)


def opposites_of(word: str) -> frozenset[str]:
    """Give the stems that the table sets against one; symmetric."""
    return _OPPOSITES.get(word, frozenset())


def _with_another_prefix(one: str, other: str) -> bool:
    for prefix in _EXCHANGED:
        if one.startswith(prefix) and len(one) - len(prefix) >= LEAST_BASE:
            base = one[len(prefix) :]
            if one != other and other.endswith(base) and other[: len(other) - len(base)] in _EXCHANGED:
                return True
    return False
