"""Runs one simulated device as a server process: binds the port, says where it listens, stops on SIGINT and SIGTERM."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys

import uvicorn

from agents.simulator.app import build
from agents.simulator.settings import Settings, parse


class AnnouncingServer(uvicorn.Server):
    """Says where it listens, once it does: whoever started the process waits for that line."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then print the address."""
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            print(f"listening on http://{shown}:{port}", flush=True)  # noqa: T201 - the promised line


def main() -> None:
    """Run the simulator until a signal stops it; exit with status 1 when the address can't be used."""
    settings = parse(sys.argv[1:], os.environ)
    try:
        listener = _bound(settings)
    except OSError as error:
        reason = error.strerror or str(error)
        sys.exit(
            f"drover-simulator: can't listen on {settings.host}:{settings.port}: {reason}; try --port 0 for a free one"
        )
    with listener:
        _serve(settings, listener)


def _bound(settings: Settings) -> socket.socket:
    """Bind here, not in the server, so that a taken port is one clear line and no traceback."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except BaseException:
        listener.close()
        raise
    return listener


def _serve(settings: Settings, listener: socket.socket) -> None:
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    config = uvicorn.Config(
        build(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        # Nobody waits for open streams: they end when the device is switched off.
        timeout_graceful_shutdown=0,
        # Ollama never closes an idle connection; a client that keeps one must not meet a closing server.
        timeout_keep_alive=86_400,
    )
    gc.freeze()  # what was imported lasts as long as the process
    AnnouncingServer(config).run(sockets=[listener])


def _is_news(record: logging.LogRecord) -> bool:
    """Drop what the server complains about and we do on purpose: cut responses, and streams open at the end."""
    message = record.getMessage()
    return "without completing response" not in message and "timeout graceful shutdown" not in message


if __name__ == "__main__":
    main()
