"""What may be wrong with an embedder, as errors; it knows no tier. Codes are those of `ConfigError`: only settings lead here."""

from __future__ import annotations

from common.errors import ConfigError


class EmbedderUnusable(ConfigError):
    """The embedder's file can't be used."""


class ExtraMissing(ConfigError):
    """A package that this embedder needs is not installed."""

    def __init__(self, what: str, extra: str, missing: str) -> None:
        super().__init__(
            f"{what} needs the package {missing}: install the extra {extra} of Drover's wheel or checkout, as README tells",
            extra=extra,
        )
