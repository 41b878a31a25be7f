"""Affinity: a conversation is found where it was, as long as the engine can still have it."""

from __future__ import annotations

from common.messages import Message, Role
from dispatcher.router.affinity import Affinity, conversation_of, goes_on
from dispatcher.routing import Warmth
from tests.unit.dispatcher.builders import device, fleet, model

SYSTEM = Message(role=Role.SYSTEM, content="You are terse.")
FIRST, OTHER = (Message(role=Role.USER, content=text) for text in ("Why is the sky blue?", "Why is grass green?"))
ANSWER = Message(role=Role.ASSISTANT, content="Rayleigh.")
NEXT = Message(role=Role.USER, content="And sunsets?")

A, B, C = (conversation_of("default", (Message(role=Role.USER, content=text),)) for text in "abc")
THERE = Warmth("nano", "llama3.2:1b", 100)
FLEET = fleet(device("nano"), device("orin", model("llama3.2:3b")), *(device(name, model("m:1b")) for name in "xyz"))


def test_a_conversation_is_named_by_how_it_began() -> None:
    """The same beginning is the same conversation however long it is; another tenant, system text or question is another."""
    begun = conversation_of("default", (SYSTEM, FIRST))

    assert begun == conversation_of("default", (SYSTEM, FIRST, ANSWER, NEXT))
    assert 4 == len(
        {
            begun,
            conversation_of("alice", (SYSTEM, FIRST)),
            conversation_of("default", (FIRST,)),
            conversation_of("default", (SYSTEM, OTHER)),
        }
    )


def test_only_later_turns_go_on() -> None:
    """A first question has no answer before it."""
    assert (False, True) == (goes_on((SYSTEM, FIRST)), goes_on((SYSTEM, FIRST, ANSWER, NEXT)))


def test_what_was_answered_is_warm() -> None:
    """The last place counts, with the length that the conversation had there."""
    affinity = Affinity()
    affinity.note(A, THERE, slots=1, fleet=FLEET)
    affinity.note(A, Warmth("orin", "llama3.2:3b", 200), slots=1, fleet=FLEET)

    assert (Warmth("orin", "llama3.2:3b", 200), None) == (affinity.warmth(A), affinity.warmth(B))


def test_another_conversation_overwrites_it() -> None:
    """An engine with two slots holds two prompts: a third one costs the oldest its place."""
    affinity = Affinity()
    for conversation in (A, B, A, C):
        affinity.note(conversation, THERE, slots=2, fleet=FLEET)

    assert (THERE, None, THERE) == (affinity.warmth(A), affinity.warmth(B), affinity.warmth(C))


def test_memory_is_bounded() -> None:
    """Of more conversations than it may hold the oldest are forgotten."""
    affinity = Affinity(most=2)
    for place, conversation in zip("xyz", (A, B, C), strict=True):
        affinity.note(conversation, Warmth(place, "m:1b", 1), slots=1, fleet=FLEET)

    assert (None, "y", "z") == (
        affinity.warmth(A),
        *[found.device for one in (B, C) if (found := affinity.warmth(one))],
    )


def test_places_go_with_their_devices_and_models() -> None:
    """Ten thousand devices that came and went, each with a model of its own, leave no trace but their last."""
    affinity = Affinity()
    for number in range(10_000):
        name = f"guest-{number}"
        affinity.note(A, Warmth(name, "m:1b", 1), slots=1, fleet=fleet(device(name, model("m:1b"))))
    gone = affinity.places
    for tag in "abc":
        there = fleet(device("nano", model(f"m:{tag}")))
        affinity.note(B, Warmth("nano", f"m:{tag}", 1), slots=1, fleet=there)

    assert (1, 1) == (gone, affinity.places)
    assert affinity.warmth(A) is None
    assert affinity.warmth(B) == Warmth("nano", "m:c", 1)
