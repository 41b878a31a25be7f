"""The subject map, in one place; it knows names and nothing of what travels under them.

A token is `[A-Za-z0-9_-]+`: NATS gives `.`, `*`, `>` and white space a meaning of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.errors import BadRequest

QUEUE_DISPATCH = "dispatch"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")


def is_token(text: str) -> bool:
    """Tell whether `text` may stand as one subject token."""
    return _TOKEN.fullmatch(text) is not None


def as_token(text: str) -> str:
    """Map any name to a subject token: foreign characters become `_`, 64 characters are kept."""
    return _FOREIGN.sub("_", text)[:64] or "_"


def require_token(what: str, text: str) -> str:
    """Return `text`, or raise `BadRequest` that says which name is wrong and what is allowed."""
    if not is_token(text):
        raise BadRequest(f"{what} {text[:80]!r} is not a name: use 1 to 64 of A-Z a-z 0-9 _ -", param=what)
    return text


def own_inbox(role: str, name: str = "") -> str:
    """Give the prefix under which one user of the bus hears answers, and nobody else: `_INBOX_bridge`, `_INBOX_device.nano`."""
    return f"_INBOX_{role}.{name}" if name else f"_INBOX_{role}"


def is_inbox(reply: str) -> bool:
    """Tell whether an answer may be sent there. Who answers has more rights than who asks: a question that names another subject as
    its reply would have them used for it."""
    return reply.startswith("_INBOX")


@dataclass(frozen=True, slots=True)
class Subjects:
    """All subjects below one prefix. Arguments are tokens already."""

    prefix: str = "llm.v1"

    def work(self, kind: str, tenant: str) -> str:
        """Where producers of `tenant` send live jobs of `kind` (`chat` or `embed`)."""
        return f"{self.prefix}.{kind}.{tenant}"

    def control(self, job: str, verb: str, tenant: str | None = None) -> str:
        """Where the dispatcher that owns `job` is asked to `cancel` it or give its `status`. With a tenant only jobs of that
        one are meant, whatever the message says, and the bus can keep producers to their own; without one it is for operators."""
        return f"{self.prefix}.ctl.{job}.{verb}" + (f".{tenant}" if tenant is not None else "")

    def cache(self, verb: str, tenant: str | None = None) -> str:
        """Where operators ask every dispatcher for the `stats` of its cache, have it `show` or `purge` entries, or `report` a wrong
        one; with a tenant, of that one alone."""
        return f"{self.prefix}.cache.{verb}" if tenant is None else f"{self.prefix}.cache.{tenant}.{verb}"

    def running(self) -> str:
        """Where every dispatcher is asked which jobs run there, and which wait."""
        return f"{self.prefix}.running"

    def peer(self, dispatcher: str) -> str:
        """Where a dispatcher tells the others that it lives, or leaves."""
        return f"{self.prefix}.peer.{dispatcher}"

    def peer_question(self, dispatcher: str) -> str:
        """Where a dispatcher asks all others to let a producer hear a job that they may have; permissions keep all but
        dispatchers away from it."""
        return f"{self.prefix}.peer.{dispatcher}.attach"

    def device(self, device: str, verb: str) -> str:
        """One device's own subjects: `job`, `cancel`, `drain`, `probe`, `load`."""
        return f"{self.prefix}.dev.{device}.{verb}"

    def heartbeat(self, device: str) -> str:
        return f"{self.prefix}.hb.{device}"

    def roll_call(self) -> str:
        """Where a dispatcher that has just started asks all devices for a heartbeat."""
        return f"{self.prefix}.roll"

    def power(self, device: str) -> str:
        return f"{self.prefix}.power.{device}"

    def record(self, what: str, name: str) -> str:
        """Where what is to be kept is told: `job` by tenant, `device` and `power` by device; a stream holds it until the ledger
        has it."""
        return f"{self.prefix}.rec.{what}.{name}"

    def ledger(self, verb: str) -> str:
        """Where operators ask the ledger for `jobs`, `devices`, `energy`, `latency` or `history`, and the bridge for `votes`
        too; it has it keep a `vote` or a `thumb`, as `drover feedback` and dispatchers do."""
        return f"{self.prefix}.ledger.{verb}"

    def keys(self, verb: str) -> str:
        """Where keys are made, checked and charged; the ledger answers."""
        return f"{self.prefix}.keys.{verb}"

    def key_event(self, key: str) -> str:
        """Where the ledger tells that a key has changed: whoever remembers it asks anew."""
        return f"{self.prefix}.evt.key.changed.{key}"

    def conversations(self, verb: str) -> str:
        """Where conversations are kept and asked for; the ledger answers."""
        return f"{self.prefix}.talk.{verb}"

    def reload(self, verb: str) -> str:
        """Where an operator has all processes `check` their settings anew, and `apply` them."""
        return f"{self.prefix}.reload.{verb}"

    def job_event(self, state: str, job: str) -> str:
        return f"{self.prefix}.evt.job.{state}.{job}"

    def device_event(self, state: str, device: str) -> str:
        return f"{self.prefix}.evt.dev.{state}.{device}"

    def route_event(self, state: str, dispatcher: str) -> str:
        """Where a dispatcher tells that its routing has changed by itself."""
        return f"{self.prefix}.evt.route.{state}.{dispatcher}"

    def jobs(self, tenant: str, priority: str) -> str:
        """Where producers of `tenant` publish jobs that must survive every process; a stream keeps them."""
        return f"{self.prefix}.jobs.{tenant}.{priority}"

    def result(self, tenant: str, job: str) -> str:
        """Where the dispatcher writes how such a job goes on, and its answer; a stream keeps them for a while."""
        return f"{self.prefix}.result.{tenant}.{job}"

    def dead(self, reason: str, tenant: str) -> str:
        """Where jobs end that can't be answered."""
        return f"{self.prefix}.dlq.{reason}.{tenant}"

    def inbox(self, dispatcher: str) -> str:
        """The root under which one dispatcher hears its agents: `<root>.<slot>.<attempt>`.

        It has the prefix `_INBOX_disp`, so that a device needs the right to publish there and nowhere else.
        """
        return f"_INBOX_disp.{dispatcher}"

    def tokens(self, subject: str) -> list[str]:
        """Split what follows the prefix; `llm.v1.hb.nano` gives `["hb", "nano"]`."""
        return subject[len(self.prefix) + 1 :].split(".")
