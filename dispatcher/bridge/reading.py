"""A body's bytes as the model that a route takes, or a refusal that names each wrong field; it knows no model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from common import codec
from common.errors import BadRequest

ELSEWHERE: Mapping[str, str] = {
    "device": "name it in the model, as in auto@nano",
    "timeout_s": "send the header X-Drover-Timeout",
    "deadline_ms": "send the header X-Drover-Timeout",
    "job": "send the header Idempotency-Key",
    "provider_key": "send the header X-Drover-Provider-Key",
    "priority": "send the header X-Drover-Priority, or service_tier",
    "keep_s": "send the header Idempotency-Key",
    "resume": "send the header Idempotency-Key, and the same request again",
}
"""What a request on NATS may hold and a chat over HTTP says otherwise: a limit or a pin must not be ignored in silence."""


class Body(BaseModel):
    """A body, or a part of one. Types are taken as they come: the text "5" is no number."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


M = TypeVar("M", bound=BaseModel)


def read_as(
    model: type[M],
    body: bytes,
    *,
    example: str,
    elsewhere: Mapping[str, str] = ELSEWHERE,
    spelt: Callable[[str], str] = str,
) -> M:
    """Read a body. Raises `BadRequest` that names every wrong field, or says that the body is no JSON object; `elsewhere` has
    fields that have no place in it, and what to send instead, and `spelt` gives a field's path as the API writes it."""
    if not body.lstrip(b" \t\r\n").startswith(b"{"):
        # The codec would take a MessagePack body too; over HTTP that is a mistake, not an encoding.
        raise BadRequest(f"the body is not a JSON object: send {example}")
    given = _object(body, example)
    for name, instead in elsewhere.items():
        if given.get(name) is not None:
            raise BadRequest(f"{name} has no place in the body of this request: {instead}", param=name)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise codec.refusal(error, name=lambda where: spelt(field_path(where))) from error


def read_fields(model: type[M], fields: Mapping[str, Any]) -> M:
    """Read the fields of a form, whose values are all texts. Raises as `read_as`."""
    try:
        return model.model_validate(fields, strict=False)
    except ValidationError as error:
        raise codec.refusal(error, name=field_path) from error


def _object(body: bytes, example: str) -> dict[str, Any]:
    try:
        return codec.decode_request(body)
    except BadRequest as error:
        if error.__cause__ is None:
            raise
        raise BadRequest(f"the body is not JSON ({error.__cause__}): send {example}") from error


_UNION_MEMBER = re.compile(
    r"\.(?:str|bool|int|float|ImageUrl|Named[A-Z]\w*|(?:list|literal|dict|constrained-list)\[[^\]]*\])(?=\.|$)"
)


def field_path(where: str) -> str:
    """Name a field as its sender knows it: pydantic puts the member of a union that it tried into the path."""
    return _UNION_MEMBER.sub("", where)


_ITEM = re.compile(r"\.(\d+)(?=\.|$)")


def in_brackets(path: str) -> str:
    """Write the path of a field as OpenAI does: `messages[0].content`; elsewhere it is `messages.0.content`."""
    return _ITEM.sub(r"[\1]", path)
