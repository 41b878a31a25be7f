"""`python -m dispatcher.cli.handover FD COMMAND...` becomes the command, with a listening socket as sd_listen_fds(3) says.

The protocol names the process that the socket is for, and only the process itself knows its number before the command runs.
"""

from __future__ import annotations

import os
import sys

FIRST_FD = 3


def main(arguments: list[str]) -> None:
    """Put the descriptor in its place, say so in the environment, and become the command."""
    number, command = int(arguments[0]), arguments[1:]
    if number == FIRST_FD:
        os.set_inheritable(number, True)  # noqa: FBT003  # it takes no keyword
    else:
        os.dup2(number, FIRST_FD)  # inheritable
        os.close(number)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
    os.execv(command[0], command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
