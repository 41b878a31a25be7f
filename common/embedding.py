"""Any number of texts as jobs that embed a few of them each, and their answers joined again in order. Pure: it sends nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from common import codec, energy, vectors
from common.energy import Energy
from common.errors import BadRequest, GarbledReply
from common.frames import End
from common.messages import AUTO, ChatRequest, Usage, embeddable, split_target
from common.vectors import MOST_INPUTS

AT_ONCE = 4
"""Jobs of one call that run together: they find several devices, and leave room for others."""

SHARE_OF_PAYLOAD = 0.5
"""Texts of one job take no more of what the bus carries in one message: the rest is for how they are written, and what is beside
them."""


MOST_JOB_CHARS = 56
"""Of a call's id before the number of one of its jobs: an id has 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """Embeddings in the order of their texts, `packed` as `common.vectors` has it. `routes` are the dispatchers' accounts, one for
    each job; `usage`, `energy` and `cost_usd` are of all of them, and None where nobody knows of any."""

    packed: tuple[str, ...]
    model: str
    usage: Usage = Usage()
    energy: Energy | None = None
    cost_usd: float | None = None
    routes: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @property
    def vectors(self) -> list[list[float]]:
        """Give the numbers, unpacked anew each time."""
        return [list(vectors.unpack(one)) for one in self.packed]


def embed_requests(
    texts: str | Sequence[str], *, model: str, most_bytes: int, **fields: Any
) -> tuple[ChatRequest, ...]:
    """Build the jobs: each with as many texts as it takes, and as fit a message of `most_bytes`. An id that is given goes to the
    one job there is, or is numbered; `max_cost_usd` is shared out among them. Raises `BadRequest` that names every wrong field.
    """
    whole = codec.build(ChatRequest, {"model": model, "inputs": _some(texts)[:1], **fields})
    if split_target(whole.model)[0] == AUTO:
        raise BadRequest("embeddings of different models can't be compared: name the model", param="model")
    parts = list(_parts(_some(texts), int(most_bytes * SHARE_OF_PAYLOAD)))
    share_usd = None if whole.max_cost_usd is None else whole.max_cost_usd / len(parts)
    requests = [codec.build(ChatRequest, {**codec.plain(whole), "inputs": part}) for part in parts]
    for request in requests:
        embeddable(request)
    return tuple(
        replace(request, job=_numbered(whole.job, number, len(parts)), max_cost_usd=share_usd)
        for number, request in enumerate(requests)
    )


def joined(ends: Sequence[End]) -> Embeddings:
    """Join the answers of all jobs. Raises `GarbledReply` when they can't be of one model."""
    routes = tuple(end.route or {} for end in ends)
    packed = tuple(one for end in ends for one in end.embeddings)
    models = {str(route.get("model", "")) for route in routes}
    if len(models) > 1 or len(set(map(vectors.dimensions, packed))) > 1:
        raise GarbledReply(f"the embeddings are of different models ({', '.join(sorted(models))}): ask again")
    costs = [float(route["cost_usd"]) for route in routes if "cost_usd" in route]
    return Embeddings(
        packed=packed,
        model=models.pop(),
        usage=Usage(prompt_tokens=sum(end.usage.prompt_tokens for end in ends)),
        energy=_energy([end.energy for end in ends if end.energy is not None]),
        cost_usd=sum(costs) if costs else None,
        routes=routes,
    )


def _energy(parts: Sequence[Energy]) -> Energy | None:
    """Add up what the jobs have taken, and what that costs where each says so."""
    whole = energy.total(parts)
    if whole is None or any(one.currency != parts[0].currency for one in parts):
        return whole
    costs, grams = [one.cost for one in parts], [one.co2e_g for one in parts]
    return replace(
        whole,
        cost=None if None in costs else sum(one or 0.0 for one in costs),
        currency=parts[0].currency,
        co2e_g=None if None in grams else sum(one or 0.0 for one in grams),
    )


def _some(texts: object) -> list[str]:
    """Give the texts as a list. What is none is refused here, since a producer's types are seldom checked."""
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes | bytearray) or not isinstance(texts, Sequence) or not texts:
        raise BadRequest(f"inputs: it is {codec.kind(texts)}: give a text, or a list of some", param="inputs")
    for number, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise BadRequest(
                f"inputs.{number}: it is {codec.kind(text) if text else 'empty'}: give a text", param="inputs"
            )
    return list(texts)


def _parts(texts: Sequence[str], most_bytes: int) -> Iterator[list[str]]:
    """Part them in order; one that is too long by itself goes alone, and the bus says so."""
    part: list[str] = []
    size_bytes = 0
    for text in texts:
        text_bytes = len(text.encode("utf-8", "surrogatepass"))
        if part and (len(part) == MOST_INPUTS or size_bytes + text_bytes > most_bytes):
            yield part
            part, size_bytes = [], 0
        part.append(text)
        size_bytes += text_bytes
    yield part


def _numbered(job: str | None, number: int, jobs: int) -> str | None:
    return job if job is None or jobs == 1 else f"{job[:MOST_JOB_CHARS]}-{number + 1}"
