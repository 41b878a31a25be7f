"""The ways a request can end without its answer; they are told to the client elsewhere."""

from __future__ import annotations


class Refused(Exception):
    """The request gets an error body; `status` is the one that Ollama answers with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ServerBusy(Refused):
    """More requests wait for a load than OLLAMA_MAX_QUEUE allows."""

    def __init__(self) -> None:
        # Two spaces, as in server/sched.go: clients may compare the text.
        super().__init__(503, "server busy, please try again.  maximum pending requests exceeded")


class ConnectionCut(Exception):
    """The simulated crash: whoever writes to the client must now drop the connection."""
