"""What a loaded model's slots have read, so that a prompt that begins alike is not read again; it knows neither time nor requests.

As Ollama 0.33 has it of llama-server: a request gets the free slot whose text shares more than a tenth of its prompt from the
beginning, the most of all; else the free slot that was used longest ago. What is shared stays, the rest is overwritten, and one
token of the prompt at least is read anew. Counts are of the whole prompt all the same (ollama pull request 16428 keeps
prompt_eval_count so), and durations only of what was read. Not simulated is what llama-server keeps of prompts beside its slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_SHARED = 0.1
"""llama-server's `--slot-prompt-similarity`."""


@dataclass(slots=True, eq=False)
class Slot:
    """One sequence of the KV cache, as the pieces of text that it was made from."""

    read: tuple[str, ...] = ()
    in_use: bool = False


class PromptCache:
    """The slots of one loaded model, the one that was used longest ago first."""

    def __init__(self, slots: int) -> None:
        self._slots = [Slot() for _ in range(slots)]

    def take(self, prompt: Sequence[str]) -> tuple[Slot, int]:
        """Take a free slot for a prompt; give it with the pieces of the prompt that it has read. There must be one."""
        free = [(shared(slot.read, prompt), slot) for slot in self._slots if not slot.in_use]
        most, slot = max(free, key=lambda one: one[0])  # of equals the one that was used longest ago
        if most <= LEAST_SHARED * len(prompt):
            most, slot = free[0]
        slot.in_use = True
        self._slots.remove(slot)
        self._slots.append(slot)
        return slot, max(0, min(most, len(prompt) - 1))

    @staticmethod
    def give(slot: Slot, read: tuple[str, ...]) -> None:
        """Give a slot back, with what it holds now."""
        slot.read, slot.in_use = read, False


def shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the pieces that two texts have in common from their beginning."""
    for number, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return number
    return min(len(one), len(other))
