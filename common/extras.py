"""How an extra of Drover is installed, in words: for all who miss a package. It knows no extra.

Never by name from PyPI: another project's package has ours.
"""

from __future__ import annotations


def install(extra: str) -> str:
    """Say how an extra is added: to a clone by which command, to a wheel by which name."""
    return f"install the extra {extra}, in a clone by .venv/bin/pip install -e '.[{extra}]'"
