"""A response as OpenAI writes it, as plain objects: the whole one, and its items; it knows neither events nor HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common import frames
from common.errors import FleetError
from common.messages import ToolCall
from dispatcher.bridge.openai import reply
from dispatcher.bridge.openai.responses.request import ResponsesRequest

Json = dict[str, Any]

USUAL = 1.0
"""What OpenAI says of a temperature or a top_p that was not given: strict readers want a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Writes one response, asked for by `asked`. `created` is in seconds since 1970."""

    job: str
    created: int
    asked: ResponsesRequest

    def response(self, model: str, status: str, output: list[Json], **more: Any) -> Json:
        """Write a response in any state; `more` replaces what is so as long as nothing is known."""
        asked = self.asked
        return {
            "id": f"resp_{self.job}",
            "object": "response",
            "created_at": self.created,
            "completed_at": None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "max_tool_calls": None,
            "metadata": asked.metadata or {},
            "model": model,
            "output": output,
            "parallel_tool_calls": True if asked.parallel_tool_calls is None else asked.parallel_tool_calls,
            "previous_response_id": None,
            "prompt_cache_key": None,
            "reasoning": None,
            "safety_identifier": asked.safety_identifier,
            "service_tier": asked.service_tier or "default",
            "store": False,
            "temperature": USUAL if asked.temperature is None else asked.temperature,
            "frequency_penalty": asked.frequency_penalty or 0.0,
            "presence_penalty": asked.presence_penalty or 0.0,
            "text": {"format": self._format()},
            "tool_choice": asked.tool_choice or "auto",
            "tools": [tool.model_dump() for tool in asked.tools or []],
            "top_logprobs": 0,
            "top_p": USUAL if asked.top_p is None else asked.top_p,
            "truncation": "disabled",
            "usage": None,
            "user": asked.user,
            **more,
        }

    def ended(self, model: str, output: list[Json], end: frames.End, completed: int) -> Json:
        """Write the response that is over; `completed` is in seconds since 1970."""
        cut = end.finish is frames.Finish.LENGTH
        return self.response(
            model,
            "incomplete" if cut else "completed",
            output,
            completed_at=None if cut else completed,
            incomplete_details={"reason": "max_output_tokens"} if cut else None,
            usage=usage_of(end),
            x_drover=reply.receipt(self.job, end),
        )

    def failed(self, model: str, output: list[Json], error: FleetError, kind: str) -> Json:
        """Write the response that failed after it had begun: its `error.code` is one of OpenAI's words, ours is in `x_drover`."""
        code = "rate_limit_exceeded" if kind == "rate_limit_error" else "server_error"
        told = {"code": code, "message": error.message, "type": kind, "param": error.details.get("param")}
        return self.response(model, "failed", output, error=told, x_drover={"job": self.job, "code": error.code})

    def message(self, text: str, status: str) -> Json:
        """Write the item that has the text; while it is in progress it has none."""
        content = [] if status == "in_progress" else [text_part(text)]
        return {"type": "message", "id": self.message_id, "status": status, "role": "assistant", "content": content}

    @property
    def message_id(self) -> str:
        return f"msg_{self.job}"

    def calls(self, calls: tuple[ToolCall, ...]) -> list[Json]:
        """Write the items of the functions that the model wants called."""
        return [
            {
                "type": "function_call",
                "id": f"fc_{self.job}_{index}",
                "call_id": call["id"],
                "status": "completed",
                **call["function"],
            }
            for index, call in enumerate(reply.tool_calls(self.job, calls))
        ]

    def _format(self) -> Json:
        wanted = self.asked.text.format if self.asked.text is not None else None
        return {"type": "text"} if wanted is None else wanted.model_dump(by_alias=True, exclude_none=True)


def text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def usage_of(end: frames.End) -> Json:
    """Write token counts, with the details that readers require; the devices cache and reason without telling."""
    usage = reply.usage_of(end)
    return {
        "input_tokens": usage.pop("prompt_tokens"),
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.pop("completion_tokens"),
        "output_tokens_details": {"reasoning_tokens": 0},
        **usage,
    }
