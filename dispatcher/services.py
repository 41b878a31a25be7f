"""The processes of a hub that last, and how each begins; what they do is imported only when one runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping


def dispatcher() -> int:
    """Run a dispatcher; gives the exit status."""
    # Products of small matrices: a second thread saves nothing, and is waited for on a busy board. Read when numpy is imported.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from dispatcher.app import main  # noqa: PLC0415  # each process imports only what it needs

    return main()


def bridge() -> int:
    """Run the HTTP bridge; gives the exit status."""
    from dispatcher.bridge.app import main  # noqa: PLC0415  # as above

    return main()


SERVICES: Mapping[str, Callable[[], int]] = {"dispatcher": dispatcher, "bridge": bridge}
"""By the verb that runs each."""
