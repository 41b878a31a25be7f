"""Which models are on the device's disk, and what their names mean; it does not know which are loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from agents.simulator.profiles import Catalogue, DeviceProfile, ModelSpec

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}"
_NAME = re.compile(rf"(?:(?:[A-Za-z0-9_.\-]+(?::\d+)?/)?{_PART}/)?{_PART}(?::{_PART})?")
_DEFAULTS = ("registry.ollama.ai/library/", "library/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A model on disk."""

    spec: ModelSpec
    modified_at: datetime


class Library:
    """The installed models. The device's profile names the first ones; any other of the catalogue can be pulled."""

    def __init__(self, known: Catalogue, device: DeviceProfile) -> None:
        self._known = known
        self._installed: dict[str, Installed] = {}
        for name in device.speeds:
            self.add(known.models[name])

    def all(self) -> list[Installed]:
        """Give the installed models, the newest first, as Ollama lists them."""
        return sorted(self._installed.values(), key=lambda item: item.modified_at, reverse=True)

    def find(self, name: str) -> Installed | None:
        """Find an installed model by any spelling of its name."""
        return self._installed.get(canonical(name))

    def published(self, name: str) -> ModelSpec | None:
        """Find a model that can be pulled."""
        return self._known.models.get(canonical(name))

    def add(self, spec: ModelSpec) -> None:
        """Put a model on the disk; a second pull renews its date."""
        self._installed[spec.name] = Installed(spec=spec, modified_at=datetime.now(UTC))

    def remove(self, name: str) -> bool:
        """Take a model off the disk; tell whether it was there."""
        return self._installed.pop(canonical(name), None) is not None


def is_valid(name: str) -> bool:
    """Tell whether a name could be a model's: [host/][namespace/]model[:tag]."""
    return _NAME.fullmatch(name) is not None


def canonical(name: str) -> str:
    """Give the shortest full name: lower case, without the default registry, with the default tag."""
    short = name.lower()
    for prefix in _DEFAULTS:
        short = short.removeprefix(prefix)
    return short if ":" in short.rsplit("/", 1)[-1] else f"{short}:latest"


def qualified(name: str) -> str:
    """Give the name with registry and namespace, as capability errors show it."""
    short = canonical(name)
    return short if "/" in short else f"registry.ollama.ai/library/{short}"
