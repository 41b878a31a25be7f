"""The command `drover`. A process that lasts begins without the modules of the command line, which would stay in memory: 3 MB."""

from __future__ import annotations

import sys

from dispatcher.services import SERVICES


def main() -> None:
    """Run the command line; exits with 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C; `result` has more."""
    match sys.argv[1:]:
        case [name] if name in SERVICES:
            _serve(name)
        case _:
            from dispatcher.verbs import app  # noqa: PLC0415  # as said above

            app()


def _serve(name: str) -> None:
    try:
        sys.exit(SERVICES[name]())
    except KeyboardInterrupt:  # before it heard signals itself
        sys.exit(130)


if __name__ == "__main__":
    main()
