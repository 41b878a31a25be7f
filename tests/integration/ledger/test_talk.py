"""Conversations: kept, found, branched and forgotten, each by its owner alone, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from common import codec
from common.bus.memory import MemoryBroker, connect_memory
from common.conversation_client import IMAGE_CHARS, Conversations
from common.conversations import (
    MOST_AT_ONCE,
    MOST_IMAGE_CHARS,
    MOST_TURN_CHARS,
    MOST_TURNS,
    PENDING,
    Conversation,
    Ended,
    Given,
    GivenFile,
    Listed,
    Owner,
    Summary,
    Turn,
    Where,
    new_id,
)
from common.errors import (
    BadRequest,
    ConversationConflict,
    FleetError,
    LedgerUnavailable,
    NotAllowed,
    PayloadTooLarge,
    UnknownConversation,
)
from common.messages import Message, Role, ToolCall
from common.votes import Thumb, mark_of
from dispatcher.ledger import checking
from dispatcher.ledger.database import Database, Place, opened
from dispatcher.ledger.retention import DAY_S, prune
from dispatcher.ledger.store import Store
from dispatcher.ledger.tables import conversations, turns
from dispatcher.ledger.talk import adopting
from dispatcher.ledger.talk.rows import folded, snippet, words
from dispatcher.ledger.votes.keeping import keep_thumb
from tests.integration.ledger.builders import NOON, SUBJECTS, came, job
from tests.integration.ledger.talks import ANNA, BERT, OTHER, Talk, asked, chain, said, talking


@pytest_asyncio.fixture
async def talk(database: Database) -> AsyncIterator[Talk]:
    async with talking(database) as one:
        yield one


@pytest_asyncio.fixture
async def light(made_file: Path, tmp_path: Path) -> AsyncIterator[Talk]:
    """Over SQLite alone: for what is decided before any database is asked."""
    place = Place(file=Path(shutil.copyfile(made_file, tmp_path / "ledger.db")))
    async with opened(place) as database, talking(database) as one:
        yield one


async def everything(talk: Talk, owner: Owner, name: str) -> list[Turn]:
    return [turn async for page in talk.ask.export(owner, name) for turn in page.turns]


async def titles(talk: Talk, owner: Owner, text: str) -> list[str]:
    return [one.conversation.title for one in (await talk.ask.search(owner, text)).conversations]


FULL = Turn(
    id="full",
    message=Message(
        role=Role.ASSISTANT,
        content='NUL is none; "quoted" \\ üñí 🦕\r\n\x01',
        images=("aGk=", "aG8="),
        tool_calls=(ToolCall(name="f", arguments={"a": [1, {"b": None}]}, id="c1"),),
    ),
    created_unix_s=1.5,
    job="j1",
    device="nano",
    model="llama3.2:1b",
    completion_tokens=12,
    broken_off=True,
    given=Given(begin=4, images=1, files=(GivenFile(name="üñí 🦕.pdf", pages=60, read=50),)),
    error=Ended(code="device_lost", message="nano üñí went away"),
)


async def test_what_is_kept_is_told_as_it_was(talk: Talk) -> None:
    """Every field of every turn, its images too, in the order of the branch."""
    new = await talk.ask.create(ANNA, title="A title")
    tool = Turn(id="t", parent="full", message=Message(role=Role.TOOL, content="1", tool_name="f", tool_call_id="c1"))
    now = await talk.ask.append(ANNA, new.id, [FULL, tool])
    found = await talk.ask.get(ANNA, new.id)

    assert (FULL, replace(tool, created_unix_s=now.updated_unix_s)) == found.turns
    assert replace(new, head="t", turns=2, updated_unix_s=now.updated_unix_s) == now == found.conversation
    assert (None, {}, None) == (found.summary, found.branches, found.next)


async def test_a_thumb_is_told_with_the_answer_that_it_was_given(talk: Talk) -> None:
    """To whoever gave it alone, and with the answer alone, not with its question; what is between up and down is neither."""
    await Store(talk.database).write(came(*(job(number) for number in (1, 2, 3))))
    told = {}
    for user, scores in (("anna", (1.0, 0.0, 0.5)), ("bert", (0.0, 1.0, 0.5))):
        owner = Owner(tenant="default", user=user)
        voter = mark_of(owner.tenant, owner.user)
        for number, score in enumerate(scores, 1):
            thumb = Thumb(tenant="default", voter=voter, job=f"job-{number}", score=score)
            await keep_thumb(talk.database, thumb, now_unix_s=NOON)
        name = (await talk.ask.create(owner)).id
        spoken = [replace(turn, job=f"job-{place // 2 + 1}") for place, turn in enumerate(chain(6))]
        await talk.ask.append(owner, name, spoken)
        page = (await talk.ask.get(owner, name)).turns
        assert list(page) == await everything(talk, owner, name)
        told[user] = [turn.rating for turn in page]

    assert {"anna": [None, "up", None, "down", None, None], "bert": [None, "down", None, "up", None, None]} == told


async def test_what_its_job_took_is_told_with_an_answer(talk: Talk) -> None:
    """By its newest record, where the id came again, as the last frame of a chat tells it; with neither the question nor what a
    model is told, and of nobody else's jobs. Without a record its turn says where it ran."""
    mine, theirs = ANNA.tenant, "elsewhere"
    old, new, other = job(1, tenant=mine), job(2, job="job-1", tenant=mine, reason="newest"), job(3, tenant=theirs)
    await Store(talk.database).write(came(old, new, other))
    name = (await talk.ask.create(ANNA)).id
    spoken = [replace(turn, job=("job-1", "job-3")[place // 2]) for place, turn in enumerate(chain(4))]
    await talk.ask.append(ANNA, name, spoken)
    page = (await talk.ask.get(ANNA, name)).turns
    (account,) = (turn.account for turn in page if turn.account is not None)
    bare = [turn.account for turn in (await talk.ask.history(ANNA, name)).turns]
    same = {name: account[name] for name in ("job", "device", "model", "reason", "cost_usd", "simulated", "usage")}

    assert ([None] * 4, page[1].account, list(page)) == (bare, account, await everything(talk, ANNA, name))
    assert {one: codec.plain(new).get(one, False) for one in same} == same
    assert new.energy is not None
    assert (new.energy.joules, new.total_s, new.attempts[0].total_s) == (
        account["energy"]["joules"],
        account["timings"]["total_s"],
        account["attempts"][0]["s"],
    )


def tried(number: int, text: str = "why?", parent: str | None = None) -> list[Turn]:
    """A question that got no word."""
    fault = Ended(code="no_device", message="no device is ready")
    question = replace(asked(f"q{number}", text, parent), job=f"j{number}")
    answer = replace(said(f"a{number}", "", question.id), job=f"j{number}", broken_off=True, error=fault)
    return [question, answer]


async def test_a_question_that_got_no_word_is_kept_once_and_told_to_no_model(talk: Talk) -> None:
    """It is found by its words. Asked again at the same place it takes the place of its tries, and so does its answer; one that
    came otherwise stays beside it, and so does one behind which something stands."""
    name = (await talk.ask.create(ANNA, title="talk")).id
    for number in (1, 2):
        here = await talk.ask.append(ANNA, name, tried(number))
    known = (here.head, here.turns, await titles(talk, ANNA, "why?"))
    await talk.ask.append(ANNA, name, tried(3, "else?"))
    await talk.ask.append(ANNA, name, [asked("note", "by hand", "a3")])
    untold = [turn.id for turn in (await talk.ask.history(ANNA, name)).turns]
    await talk.ask.append(ANNA, name, tried(4, "else?"))
    question, answer = tried(5)
    there = replace(answer, error=None, broken_off=False, message=Message(role=Role.ASSISTANT, content="so"))
    await talk.ask.append(ANNA, name, [question, there])
    ids = [turn.id for turn in await everything(talk, ANNA, name)]
    async with talk.database.reading() as connection:
        counted = (await connection.execute(select(conversations.c.turns, conversations.c.bytes))).one()
        size = sum((await connection.execute(select(turns.c.bytes))).scalars())

    assert (("a2", 2, ["talk"]), ["note"]) == (known, untold)
    assert ["q3", "a3", "note", "q4", "a4", "q5", "a5"] == ids
    assert (7, size) == tuple(counted)


async def test_an_answer_takes_the_place_of_what_stood_for_it(talk: Talk) -> None:
    """With a word or without. What stands for one that has come already is not kept, and moves nothing."""
    name = (await talk.ask.create(ANNA)).id
    ends = [said("late", "so", "q1"), replace(tried(2, parent="late")[1], id="failed")]
    heads = list[Any]()
    for number, (parent, end) in enumerate(zip((None, "late"), ends, strict=True), 1):
        question, stands = tried(number, parent=parent)
        stands = replace(stands, error=Ended(code=PENDING))
        end = replace(end, job=question.job)  # noqa: PLW2901
        for turn in (stands, end, stands):
            there = await talk.ask.append(ANNA, name, [question, turn])
            heads.append((there.head, there.turns))

    ids = [turn.id for turn in await everything(talk, ANNA, name)]
    assert [("a1", 2), ("late", 2), ("late", 2), ("a2", 4), ("failed", 4), ("failed", 4)] == heads
    assert ["q1", "late", "q2", "failed"] == ids


async def test_what_got_no_word_is_not_gone_on_with_where_something_else_was_said(talk: Talk) -> None:
    """Whoever stops waits for nobody: the next answer may be kept before."""
    name = (await talk.ask.create(ANNA)).id
    await talk.ask.append(ANNA, name, chain(2))
    late = await talk.ask.append(ANNA, name, tried(1, parent="t2"))
    await talk.ask.append(ANNA, name, [asked("q", "meanwhile", "t2"), said("a", "so", "q")])
    later = await talk.ask.append(ANNA, name, tried(2, parent="t2"))

    assert ("a1", "a", 6) == (late.head, later.head, later.turns)


async def test_ids_have_128_random_bits_and_making_one_again_makes_no_other(light: Talk) -> None:
    """Whoever hears no answer asks again."""
    name = new_id()
    first = await light.ask.create(ANNA, title="one", new=name)
    again = await light.ask.create(ANNA, title="two", new=name)
    page = await light.ask.listed(ANNA)

    assert (32, first) == (len(bytes.fromhex(name)) * 2, again)
    assert [first] == [one.conversation for one in page.conversations]


VERBS: dict[str, Callable[[Conversations, Owner, str], Awaitable[object]]] = {
    "get": lambda ask, owner, name: ask.get(owner, name),
    "rename": lambda ask, owner, name: ask.rename(owner, name, "mine"),
    "select": lambda ask, owner, name: ask.select(owner, name, "t1"),
    "branch": lambda ask, owner, name: ask.branch(owner, name, "t1"),
    "append": lambda ask, owner, name: ask.append(owner, name, [asked("x", "mine", "t1")]),
    "summarise": lambda ask, owner, name: ask.summarise(owner, name, Summary(covers="t1", text="mine")),
    "delete": lambda ask, owner, name: ask.delete(owner, name),
    "export": lambda ask, owner, name: anext(aiter(ask.export(owner, name))),
}


async def test_somebody_elses_is_like_one_that_is_not_there(talk: Talk) -> None:
    """For another user, another tenant, and nobody: by each verb, in the same words, and nothing is changed."""
    name = (await talk.ask.create(ANNA, title="secret")).id
    await talk.ask.append(ANNA, name, chain(2))
    before = await talk.ask.get(ANNA, name)
    for verb, work in VERBS.items():
        told = set()
        for owner, wanted in ((BERT, name), (OTHER, name), (Owner(tenant="home"), name), (ANNA, "0" * 32)):
            with pytest.raises(UnknownConversation) as error:
                await work(talk.ask, owner, wanted)
            told.add(json.dumps(error.value.to_wire()).replace(wanted, "ID"))
        assert (verb, 1) == (verb, len(told))

    assert before == await talk.ask.get(ANNA, name)
    assert [] == [one async for one in _rows(talk.database, BERT)]


async def _rows(database: Database, owner: Owner) -> AsyncIterator[str]:
    async with database.reading() as connection:
        for table in (conversations, turns):
            ask = select(table.c.id).where(table.c.user_id == owner.user)
            for name in (await connection.execute(ask)).scalars():
                yield name


async def test_lists_and_searches_are_of_one_owner(talk: Talk) -> None:
    """And forgetting all forgets nobody else's; the same id may be two owners', and neither learns of it."""
    name = new_id()
    for owner, title in ((ANNA, "anna's dinosaur"), (BERT, "bert's dinosaur"), (OTHER, "other dinosaur")):
        await talk.ask.create(owner, title=title, new=name)
        await talk.ask.append(owner, name, [asked("t1", f"{title} text")])
    listed = [one.conversation.title for one in (await talk.ask.listed(ANNA)).conversations]
    found = await titles(talk, ANNA, "DINOSAUR text")
    gone = await talk.ask.delete_all(ANNA)

    assert (["anna's dinosaur"], ["anna's dinosaur"], 1) == (listed, found, gone)
    assert ["bert's dinosaur text", "other dinosaur text"] == [
        (await everything(talk, owner, name))[0].message.content for owner in (BERT, OTHER)
    ]
    with pytest.raises(UnknownConversation):
        await talk.ask.get(ANNA, name)


async def test_a_list_is_paged_newest_first(talk: Talk) -> None:
    """Each once, with the beginning of its newest turn; who has gone on comes first."""
    names = [(await talk.ask.create(ANNA, title=f"{number}")).id for number in range(7)]
    await talk.ask.append(ANNA, names[2], [asked("t1", "a  question\n" + "x" * 500)])
    shown, before = list[Listed](), None
    while True:
        page = await talk.ask.listed(ANNA, limit=3, before=before)
        shown += page.conversations
        if (before := page.next) is None:
            break

    assert ["2", "6", "5", "4", "3", "1", "0"] == [one.conversation.title for one in shown]
    assert f"a question {'x' * 147}…" == shown[0].snippet
    assert "" == shown[1].snippet


async def test_a_cursor_that_is_none_is_refused(light: Talk) -> None:
    """With what to do."""
    for before in ("", "x", "~", "x~y", "nan~y", "1e999~y"):
        with pytest.raises(BadRequest, match="take it from there"):
            await light.ask.listed(ANNA, before=before)


FOUND = [
    ("straße", "STRASSE", True),
    ("ÉCOLE", "école", True),
    ("e\u0301cole", "ÉCOLE", True),
    ("ДИНОЗАВР", "динозавр", True),
    ("ΣΊΣΥΦΟΣ", "σίσυφος", True),
    ("100% sure", "100%", True),
    ("100 sure", "100%", False),
    ("snake_case", "e_c", True),
    ("snakeXcase", "e_c", False),
    ('it\'s "so"', 'it\'s "so"', True),
    ("back\\slash/", "\\slash/", True),
    ("one two", "two one", True),
    ("one two", "one three", False),
    ("nul\0nul", "nul\ufffdnul", True),
]


async def test_a_search_takes_every_sign_as_it_is_and_no_case(talk: Talk) -> None:
    """The same on both databases, whose own ideas of case and of % differ; all words, wherever they stand."""
    for text, _, _ in FOUND:
        name = (await talk.ask.create(ANNA, title="")).id
        await talk.ask.append(ANNA, name, [asked("t1", "first"), said("t2", text, "t1")])
        await talk.ask.rename(ANNA, name, name)
    kept = {}
    page = await talk.ask.listed(ANNA, limit=100)
    for one in page.conversations:
        kept[one.snippet] = one.conversation.title
    for text, looked_for, there in FOUND:
        title = kept[snippet(text.replace("\0", "\ufffd"))]
        assert (text, looked_for, there) == (text, looked_for, title in await titles(talk, ANNA, looked_for))


async def test_a_search_looks_at_titles_and_turns_and_tells_where(talk: Talk) -> None:
    """One word in the title and one in a turn are both there."""
    name = (await talk.ask.create(ANNA, title="Über Dinosaurier")).id
    await talk.ask.append(
        ANNA, name, [asked("t1", "hello"), said("t2", "ß" * 300 + " they had Feathers, mostly", "t1")]
    )
    (both,) = (await talk.ask.search(ANNA, "feathers über")).conversations
    (title,) = (await talk.ask.search(ANNA, "dinosaurier")).conversations

    assert ("t2", True) == (both.turn, "they had Feathers, mostly" in both.snippet)
    assert (None, "ß" * 158 + "…") == (title.turn, title.snippet)


async def test_a_search_without_time_goes_on_behind_what_it_has_seen(database: Database) -> None:
    """Each page looks at some; at the end all were found, each once."""
    async with talking(database, search_s=0.0) as talk:
        for number in range(3):
            name = (await talk.ask.create(ANNA, title=f"word {number}")).id
            await talk.ask.append(ANNA, name, chain(MOST_AT_ONCE + 160, f"nothing{number}"))
        shown, pages, before = list[str](), 0, None
        while True:
            page = await talk.ask.search(ANNA, "nothing word", before=before)
            pages += 1
            shown += [one.conversation.title for one in page.conversations]
            if (before := page.next) is None:
                break

    assert ["word 2", "word 1", "word 0"] == shown
    assert pages > 2


async def test_a_search_needs_some_words(light: Talk) -> None:
    """And not too many."""
    for text in ("", "  \n", " ".join(f"w{number}" for number in range(17))):
        with pytest.raises(BadRequest, match="words are looked for"):
            await light.ask.search(ANNA, text)


async def test_a_search_looks_at_the_clock_at_each_hit(database: Database) -> None:
    """One page of long texts would take longer than keys may wait: it ends behind the hit at which the time is over."""
    async with talking(database, search_s=0.0) as talk:
        for number in range(3):
            name = (await talk.ask.create(ANNA, title=f"{number}")).id
            await talk.ask.append(ANNA, name, [asked("t1", "word")])
        pages, before = list[list[str]](), None
        while True:
            page = await talk.ask.search(ANNA, "word", before=before)
            pages.append([one.conversation.title for one in page.conversations])
            if (before := page.next) is None:
                break

    assert [["2"], ["1"], ["0"], []] == pages


async def test_an_owner_keeps_so_many_bytes_at_most(database: Database) -> None:
    """Together, branches and images too; what is deleted makes room, and nobody else's counts."""
    async with talking(database, most_bytes=10_000) as talk:
        first, second = [(await talk.ask.create(ANNA)).id for _ in range(2)]
        others = (await talk.ask.create(BERT)).id
        await talk.ask.append(ANNA, first, [asked("t1", "x" * 2000)])
        picture = Message(role=Role.USER, content="y", images=("A" * 1500,))
        await talk.ask.append(ANNA, second, [Turn(id="t1", message=picture)])
        for refused in (
            talk.ask.append(ANNA, second, [said("t2", "z" * 3000, "t1")]),
            talk.ask.append(ANNA, first, [said("t2", "z" * 2500, "t1")]),
        ):
            with pytest.raises(NotAllowed, match="DROVER_CONVERSATION_MB"):
                await refused
        branch = (await talk.ask.branch(ANNA, first, "t1")).id
        with pytest.raises(NotAllowed, match="DROVER_CONVERSATION_MB"):
            await talk.ask.branch(ANNA, first, "t1")
        await talk.ask.append(BERT, others, [asked("t1", "x" * 2500)])
        await talk.ask.delete(ANNA, branch)
        kept = await talk.ask.append(ANNA, second, [said("t2", "z" * 1800, "t1")])

    assert ("t2", 2) == (kept.head, kept.turns)


async def test_a_history_ends_at_what_a_context_can_hold(database: Database) -> None:
    """It reads no page behind that, and a note stands for the images of all but the newest turns."""
    picture = "A" * 400
    async with talking(database) as talk:
        name = (await talk.ask.create(ANNA)).id
        plain = chain(250, "x" * 90)
        shown = [replace(turn, message=replace(turn.message, images=(picture,))) for turn in plain]
        await talk.ask.append(ANNA, name, shown)
        whole = await talk.ask.history(ANNA, name)
        short = await talk.ask.history(ANNA, name, most_chars=9000, most_images=2)
        bare = await talk.ask.history(ANNA, name, most_chars=120 * (90 + IMAGE_CHARS), most_images=0)

    assert (250, tuple(shown)) == (len(whole.turns), tuple(replace(one, created_unix_s=0.0) for one in whole.turns))
    assert ("t151", "t150") == (short.turns[0].id, short.next)
    assert ["", "", picture, picture] == ["".join(one.message.images) for one in short.turns[-4:]]
    assert short.turns[0].message.content.endswith("[1 image was here: left out]")
    assert (200, ()) == (len(bare.turns), tuple(image for one in bare.turns for image in one.message.images))


async def test_a_branch_is_paged_from_its_end(database: Database) -> None:
    """No answer is larger than the bus carries, and all turns are told, each once, in their order."""
    async with talking(database, max_payload=65_536) as talk:
        name = (await talk.ask.create(ANNA)).id
        await talk.ask.append(ANNA, name, chain(130, "x" * 900))
        pages, turn = [], None
        while True:
            page = await talk.ask.get(ANNA, name, turn=turn)
            pages.append(page.turns)
            if (turn := page.next) is None:
                break
        whole = await talk.ask.history(ANNA, name)
        exported = await everything(talk, ANNA, name)

    told = [turn.id for page in reversed(pages) for turn in page]
    assert [f"t{number}" for number in range(1, 131)] == told == [turn.id for turn in whole.turns]
    assert list(whole.turns) == exported
    assert len(pages) > 2


async def test_siblings_are_branches_of_one_conversation(talk: Talk) -> None:
    """A turn behind an earlier one stands beside what was there; the newest goes on, until another is selected."""
    name = (await talk.ask.create(ANNA)).id
    await talk.ask.append(ANNA, name, [asked("q1"), said("a1", parent="q1"), asked("q2", parent="a1")])
    await talk.ask.append(ANNA, name, [said("b1", "else", "q1"), asked("r1")])
    forked = await talk.ask.append(ANNA, name, [said("c1", "third", "q1")])
    found = await talk.ask.get(ANNA, name)
    first = await talk.ask.get(ANNA, name, turn="q2")
    await talk.ask.select(ANNA, name, "q2")
    chosen = await talk.ask.get(ANNA, name)
    branch = [turn.id async for page in talk.ask.export(ANNA, name, whole=False) for turn in page.turns]

    assert ("c1", ["q1", "c1"]) == (forked.head, [turn.id for turn in found.turns])
    assert {"q1": ("q1", "r1"), "c1": ("a1", "b1", "c1")} == found.branches
    assert ["q1", "a1", "q2"] == [turn.id for turn in first.turns] == [turn.id for turn in chosen.turns] == branch
    assert ["q1", "a1", "q2", "b1", "r1", "c1"] == [turn.id for turn in await everything(talk, ANNA, name)]


async def test_a_conversation_can_go_on_at_its_start(talk: Talk) -> None:
    """It has no turns there, and names those that were first; what comes next stands beside them, and they can be chosen again."""
    name = (await talk.ask.create(ANNA)).id
    await talk.ask.append(ANNA, name, chain(3))
    started = await talk.ask.select(ANNA, name, None)
    empty = await talk.ask.get(ANNA, name)
    snippets = [one.snippet for one in (await talk.ask.listed(ANNA)).conversations]
    await talk.ask.append(ANNA, name, [asked("r1", "else?")], where=Where.HEAD)
    forked = await talk.ask.get(ANNA, name)
    await talk.ask.select(ANNA, name, "t3")
    back = await talk.ask.get(ANNA, name)

    assert (None, None, 3, [""]) == (started.head, empty.conversation.head, empty.conversation.turns, snippets)
    assert ((), ("t1",), {}) == (empty.turns, empty.beginnings, empty.branches)
    assert (["r1"], {"r1": ("t1", "r1")}, ()) == (
        [turn.id for turn in forked.turns],
        forked.branches,
        forked.beginnings,
    )
    assert ["t1", "t2", "t3"] == [turn.id for turn in back.turns]


async def test_lists_tell_for_how_long_conversations_are_kept(database: Database) -> None:
    """Where they are kept for ever, nothing is told."""
    async with talking(database, kept_days=90) as some, talking(database) as ever:
        told = [await some.ask.listed(ANNA), await some.ask.search(ANNA, "bees"), await ever.ask.listed(ANNA)]

    assert [90, 90, None] == [page.kept_days for page in told]


async def test_a_branch_shares_nothing(talk: Talk) -> None:
    """It has the turns up to one, and its summary; what happens to either is nothing to the other."""
    name = (await talk.ask.create(ANNA, title="first")).id
    await talk.ask.append(ANNA, name, [*chain(4), said("beside", parent="t1")])
    await talk.ask.summarise(ANNA, name, Summary(covers="t2", text="two turns"))
    new = await talk.ask.branch(ANNA, name, "t3", new="f" * 32)
    again = await talk.ask.branch(ANNA, name, "t3", new="f" * 32)
    await talk.ask.append(ANNA, new.id, [said("mine", parent="t3")])
    await talk.ask.delete(ANNA, name)
    found = await talk.ask.get(ANNA, new.id)

    assert ("first", "t3", 3, name, new) == (new.title, new.head, new.turns, new.branched_from, again)
    assert ["t1", "t2", "t3", "mine"] == [turn.id for turn in found.turns]
    assert Summary(covers="t2", text="two turns") == found.summary
    assert (4, {}) == (found.conversation.turns, found.branches)


async def test_a_branch_takes_no_id_that_is_taken(light: Talk) -> None:
    """Its turns would be mixed with others."""
    name, other = [(await light.ask.create(ANNA)).id for _ in range(2)]
    await light.ask.append(ANNA, name, chain(1))
    with pytest.raises(ConversationConflict):
        await light.ask.branch(ANNA, name, "t1", new=other)

    assert 0 == (await light.ask.get(ANNA, other)).conversation.turns


async def test_turns_are_kept_once(talk: Talk) -> None:
    """Whoever appends again, wholly or in part, changes nothing; another text under the same id is a conflict."""
    name = (await talk.ask.create(ANNA)).id
    for where in Where:
        await talk.ask.append(ANNA, name, chain(2), where=where)
    now = await talk.ask.append(ANNA, name, chain(3))
    again = await talk.ask.append(ANNA, name, chain(3))
    for other in (asked("t3", "else", "t2"), replace(chain(3)[2], parent="t1")):
        with pytest.raises(ConversationConflict):
            await talk.ask.append(ANNA, name, [asked("new", parent="t3"), other])

    assert now == again
    assert ["t1", "t2", "t3"] == [turn.id for turn in await everything(talk, ANNA, name)]


async def test_a_parent_that_is_not_there_is_refused(light: Talk) -> None:
    """With all that came together; a turn can't be its own, nor stand behind a later one."""
    name, other = [(await light.ask.create(ANNA)).id for _ in range(2)]
    await light.ask.append(ANNA, other, [asked("theirs")])
    wrong = [
        [asked("t1"), said("t2", parent="nowhere")],
        [asked("t1"), said("t2", parent="theirs")],
        [said("t1", parent="t2"), asked("t2")],
        [asked("t1", parent="t1")],
        [asked("t1"), asked("t1")],
    ]
    for some in wrong:
        with pytest.raises(BadRequest):
            await light.ask.append(ANNA, name, some)

    assert [] == await everything(light, ANNA, name)


async def test_turns_that_do_not_exist_are_refused_by_every_verb(light: Talk) -> None:
    """Where one is named."""
    name = (await light.ask.create(ANNA)).id
    await light.ask.append(ANNA, name, chain(1))
    for work in (
        light.ask.get(ANNA, name, turn="t2"),
        light.ask.select(ANNA, name, "t2"),
        light.ask.branch(ANNA, name, "t2"),
        light.ask.summarise(ANNA, name, Summary(covers="t2", text="x")),
    ):
        with pytest.raises(BadRequest, match="has no turn t2"):
            await work

    assert 1 == len((await light.ask.listed(ANNA)).conversations)


@pytest.mark.parametrize("where", [Where.HEAD, Where.ONLY_HEAD])
async def test_many_at_once_land_one_behind_the_other_or_are_refused(where: Where, talk: Talk) -> None:
    """Behind the head all do; who insists on the head that was seen is refused where another was quicker. None is lost."""
    name = (await talk.ask.create(ANNA)).id
    await talk.ask.append(ANNA, name, [asked("t0")])
    work = [talk.ask.append(ANNA, name, [said(f"n{number}", parent="t0")], where=where) for number in range(20)]
    told = await asyncio.gather(*work, return_exceptions=True)
    kept = [one for one in told if isinstance(one, Conversation)]
    refused = [one for one in told if isinstance(one, ConversationConflict)]
    found = (await talk.ask.get(ANNA, name)).turns

    assert (20, 20 if where is Where.HEAD else 1) == (len(kept) + len(refused), len(kept))
    assert ["t0", *(one.head for one in sorted(kept, key=lambda one: one.turns))] == [turn.id for turn in found]
    assert [None, *(turn.id for turn in found[:-1])] == [turn.parent for turn in found]


async def test_a_summary_stands_for_turns_of_its_branch(talk: Talk) -> None:
    """The newest of the branch that is asked for; a later one replaces it, and history goes back no further."""
    name = (await talk.ask.create(ANNA)).id
    await talk.ask.append(ANNA, name, [*chain(230), said("beside", parent="t100")])
    await talk.ask.select(ANNA, name, "t230")
    await talk.ask.summarise(ANNA, name, Summary(covers="t120", text="first words"))
    await talk.ask.summarise(ANNA, name, Summary(covers="t120", text="better words"))
    found = await talk.ask.history(ANNA, name)
    other = await talk.ask.get(ANNA, name, turn="beside")

    assert (Summary(covers="t120", text="better words"), None) == (found.summary, other.summary)
    assert ["t31", "t230"] == [found.turns[0].id, found.turns[-1].id]
    assert "t30" == found.next


async def test_bounds(light: Talk) -> None:
    """Each is a typed refusal that says how much is taken, and leaves all as it was."""
    database = light.database
    async with talking(database, most=1) as talk:
        name = (await talk.ask.create(ANNA)).id
        with pytest.raises(NotAllowed, match="DROVER_CONVERSATIONS"):
            await talk.ask.create(ANNA)
        with pytest.raises(PayloadTooLarge, match=f"{MOST_TURN_CHARS} are kept"):
            await talk.ask.append(ANNA, name, [asked("t1", "x" * (MOST_TURN_CHARS + 1))])
        with pytest.raises(PayloadTooLarge, match="bytes: at most"):
            await talk.ask.append(ANNA, name, [asked("t1", "\x01" * MOST_TURN_CHARS)])
        with pytest.raises(BadRequest, match="title"):
            await talk.ask.rename(ANNA, name, "x" * 201)
        await talk.ask.append(ANNA, name, [asked("t1", "\U0001f996" * (MOST_TURN_CHARS - 9000))])
        async with database.writing() as connection:
            await connection.execute(update(conversations).values(turns=MOST_TURNS))
        with pytest.raises(PayloadTooLarge, match=f"at most {MOST_TURNS} are kept"):
            await talk.ask.append(ANNA, name, [said("t2", parent="t1")])
        with pytest.raises(NotAllowed):
            await talk.ask.branch(ANNA, name, "t1")

    assert ["t1"] == [turn.id for turn in await everything_in(database, name)]


async def everything_in(database: Database, name: str) -> list[Turn]:
    async with talking(database) as talk:
        return await everything(talk, ANNA, name)


async def test_images_are_kept_up_to_a_bound_and_missed_in_words(light: Talk) -> None:
    """What is left out is told to whoever reads the turn later, model or person; appending it again is the same turn."""
    name = (await light.ask.create(ANNA)).id
    small, large = "a" * 1000, "b" * MOST_IMAGE_CHARS
    turn = Turn(
        id="t1", message=Message(role=Role.USER, content="see", images=(small, large, small)), created_unix_s=1.0
    )
    for _ in range(2):
        await light.ask.append(ANNA, name, [turn])
    (kept,) = (await light.ask.get(ANNA, name)).turns

    assert "see\n\n[1 image was here: too large to be kept]" == kept.message.content
    assert (small, small) == kept.message.images


async def test_what_is_given_of_a_question_is_told_without_the_images_that_were_left_out(light: Talk) -> None:
    """Of the images that stay so many are its user's as are kept."""
    large, small = "A" * (MOST_IMAGE_CHARS + 1), "aGk="
    message = Message(role=Role.USER, content="Told.\n\nWhat?", images=(large, small, small))
    given = Given(begin=7, images=2, files=(GivenFile(name="a.pdf", pages=1, read=1),))
    new = await light.ask.create(ANNA)
    await light.ask.append(ANNA, new.id, [Turn(id="q", message=message, given=given), said("a", parent="q")])
    told, answer = (await light.ask.get(ANNA, new.id)).turns
    note = "What?\n\n[1 image was here: too large to be kept]"

    assert (replace(given, images=1), None) == (told.given, answer.given)
    assert ((small, small), note) == (told.message.images, told.message.content[7:])


async def test_what_is_forgotten_is_gone(talk: Talk) -> None:
    """No row of it is left; a second time there is nothing to forget."""
    names = [(await talk.ask.create(ANNA)).id for _ in range(3)]
    for name in names:
        await talk.ask.append(ANNA, name, chain(3))
    await talk.ask.delete(ANNA, names[0])
    with pytest.raises(UnknownConversation):
        await talk.ask.delete(ANNA, names[0])
    gone = [await talk.ask.delete_all(ANNA), await talk.ask.delete_all(ANNA)]

    assert ([2, 0], []) == (gone, [one async for one in _rows(talk.database, ANNA)])


async def test_old_conversations_go_where_days_are_set(talk: Talk) -> None:
    """By when somebody last went on with them; 0 keeps all."""
    old, young = [(await talk.ask.create(ANNA, title=title)).id for title in ("old", "young")]
    await talk.ask.append(ANNA, old, chain(2))
    talk.clock.now_unix_s += 10 * DAY_S
    await talk.ask.append(ANNA, young, chain(2))
    kept = [
        (
            await prune(talk.database, now_unix_s=talk.clock.now_unix_s, days=1, power_days=14, conversation_days=days)
        ).conversations
        for days in (0, 11, 9, 9)
    ]

    assert [0, 0, 1, 0] == kept
    assert ["young"] == [one.conversation.title for one in (await talk.ask.listed(ANNA)).conversations]
    assert [young, "t1", "t2"] == [one async for one in _rows(talk.database, ANNA)]


async def test_a_check_finds_turns_that_nobody_could_read(talk: Talk) -> None:
    """Or that stand in no conversation, or behind none."""
    name = (await talk.ask.create(ANNA)).id
    await talk.ask.append(ANNA, name, chain(3))
    sound = await checking.faults(talk.database)
    async with talk.database.writing() as connection:
        await connection.execute(update(turns).where(turns.c.id == "t3").values(message="{"))
        await connection.execute(update(turns).where(turns.c.id == "t2").values(parent="gone"))
        await connection.execute(update(turns).where(turns.c.id == "t1").values(conversation="gone"))
    broken = await checking.faults(talk.database)

    assert [] == sound
    assert {f"turns {name}/t2", "turns gone/t1", f"turns home/anna/{name}/t3"} == {
        line.partition(":")[0] for line in broken
    }


WRONG: tuple[dict[str, Any], ...] = (
    {},
    {"owner": {}},
    {"owner": {"tenant": "t"}, "nonsense": 1},
    {"owner": {"tenant": "t"}, "id": "a b"},
    {"owner": {"tenant": "t"}, "id": "x" * 65},
    {"owner": {"tenant": "t"}, "limit": 0},
)
NAMES = ("create", "get", "rename", "select", "branch", "append", "summarise", "delete", "export")


async def test_a_wrong_question_is_answered_with_what_is_wrong(light: Talk) -> None:
    """By each verb, and the ledger goes on."""
    codes = set()
    for verb in NAMES:
        for body in WRONG:
            answer = await light.bus.request(SUBJECTS.conversations(verb), codec.encode(body), timeout_s=20.0)
            codes.add(codec.decode(answer.data)["error"]["code"])

    assert {BadRequest.code} == codes
    assert (await light.ask.listed(ANNA)).conversations == ()


@pytest.mark.parametrize("sign", ["\u202e", "\x1b", "\n", "\0"])
async def test_a_title_has_no_sign_that_turns_what_stands_behind_it(light: Talk, sign: str) -> None:
    """By whichever verb it is given on the bus, and by our own client: all pass the message's type. What was kept before stays as
    it was, also in a copy."""
    title = f"zebra {sign}fdp"
    name = (await light.ask.create(ANNA, title="zebra")).id
    await light.ask.append(ANNA, name, [asked("t1", "Why?")])
    more = {"create": {}, "rename": {}, "branch": {"turn": "t1", "new": "copy"}}
    body = {"owner": codec.plain(ANNA), "id": name, "title": title}
    refused = [await raw(light, verb, body | fields) for verb, fields in more.items()]
    with pytest.raises(BadRequest, match="is no sign that can be seen"):
        await light.ask.rename(ANNA, name, title)
    kept = (await light.ask.get(ANNA, name)).conversation.title
    async with light.database.writing() as connection:
        await connection.execute(update(conversations).values(title="old\u202e"))
    copy = await light.ask.branch(ANNA, name, "t1")

    assert [BadRequest.code] * 3 == [one["error"]["code"] for one in refused]
    assert [True] * 3 == [f"U+{ord(sign):04X} is no sign" in one["error"]["message"] for one in refused], refused
    assert ("zebra", "old\u202e", 2) == (kept, copy.title, len((await light.ask.listed(ANNA)).conversations))


async def raw(talk: Talk, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask on the bus, as a program that is none of ours would."""
    return codec.decode((await talk.bus.request(SUBJECTS.conversations(verb), codec.encode(body), timeout_s=20.0)).data)


async def test_signs_that_no_database_takes_are_refused_or_replaced(talk: Talk) -> None:
    """In a text NUL becomes a replacement, on both; in a name it is refused by one, and found by neither."""
    name = (await talk.ask.create(ANNA, title="ab")).id
    await talk.ask.append(ANNA, name, [asked("t1", "c\0d", model="m")])
    await talk.ask.summarise(ANNA, name, Summary(covers="t1", text="e\0f"))
    found = await talk.ask.get(ANNA, name)

    assert "c\ufffdd" == found.turns[0].message.content
    assert found.summary == Summary(covers="t1", text="e\ufffdf")
    with pytest.raises(BadRequest):
        await talk.ask.append(ANNA, name, [asked("t2", "half of one: \ud800")])


async def test_without_a_ledger_it_says_what_to_do() -> None:
    """A typed error that names the command."""
    async with connect_memory(MemoryBroker()) as bus:
        with pytest.raises(LedgerUnavailable, match="drover ledger serve") as told:
            await Conversations(bus, SUBJECTS).listed(ANNA)

    assert told.value.retryable


async def test_a_ledger_that_hangs_is_one_that_is_away() -> None:
    """After a while, with where to look."""
    async with connect_memory(MemoryBroker()) as bus:
        await bus.subscribe(SUBJECTS.conversations("list"), lambda _: None)
        with pytest.raises(LedgerUnavailable, match="drover ledger stats"):
            await Conversations(bus, SUBJECTS, timeout_s=0.05).listed(ANNA)


def test_a_snippet_shows_what_was_found() -> None:
    """Where folding changes lengths, too."""
    text = "ŉﷺß" * 200 + " NEEDLE in it"

    assert "NEEDLE in it" in snippet(text, ["needle"])
    assert "needle in it" in folded(text)


@pytest.mark.parametrize("text", ["a b ", "é ü ", "한국 ", "e\u0301 ", "ŉﷺß "])
@pytest.mark.parametrize("before", [0, 3000, 4080, 90_000])
def test_a_snippet_of_a_long_text_shows_what_was_found(text: str, before: int) -> None:
    """Wherever it stands; it is looked for in windows, and may lie across the end of one."""
    long = (text * before)[:before] + " here is a NEEDLE for you " + text * 100

    assert "NEEDLE for you" in snippet(long, words("needle zzz"))


def test_a_snippet_of_a_long_text_costs_little_more_than_folding_it() -> None:
    """Not that for each word and each step on the way to its place: a page has a hundred of them."""
    long = ("한국 " * 33_000)[:99_980] + " zzz"
    looked_for = words(" ".join(["zzz", *(f"q{number}" for number in range(15))]))
    once = min(_cpu_s(lambda: folded(long)) for _ in range(5))

    assert min(_cpu_s(lambda: snippet(long, looked_for)) for _ in range(5)) < 8 * once


def _cpu_s(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def test_errors_of_conversations_are_known_on_the_wire() -> None:
    """So that a client raises what the ledger did."""
    assert issubclass(ConversationConflict, FleetError)
    assert "conversation_conflict" == ConversationConflict("x").to_wire()["code"]


async def test_what_is_nobody_s_is_given_to_one_owner(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was said while there were no keys, some at a time, with its turns; once, and of this tenant alone."""
    monkeypatch.setattr(adopting, "AT_ONCE", 2)
    nobody, nobody_there = Owner(tenant=ANNA.tenant), Owner(tenant=OTHER.tenant)
    names = [(await talk.ask.create(nobody, title=f"old {number}")).id for number in range(5)]
    await talk.ask.append(nobody, names[0], chain(3))
    mine, bert = await talk.ask.create(ANNA, title="mine"), await talk.ask.create(BERT, title="his")
    there = await talk.ask.create(nobody_there, title="elsewhere")
    given = [await adopting.adopt(talk.database, owner) for owner in (ANNA, ANNA, nobody_there)]
    listed = [
        {one.conversation.id for one in (await talk.ask.listed(owner)).conversations}
        for owner in (ANNA, BERT, nobody, nobody_there)
    ]

    assert ([5, 0, 0], [{*names, mine.id}, {bert.id}, set(), {there.id}]) == (given, listed)
    assert ["t1", "t2", "t3"] == [turn.id for turn in await everything(talk, ANNA, names[0])]
    assert ["old 0"] == await titles(talk, ANNA, "word 2")
