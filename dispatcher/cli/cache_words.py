"""What the cache did for one answer, in words; pure, and it knows no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Told = Mapping[str, Any]


def plain(text: str, *, keep: str = "") -> str:
    """Give a text that a terminal shows as it is: what would steer it, or turn the line around, is written out. `keep` holds
    characters that stay all the same."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text
    )


def plainly(value: Any) -> Any:
    """Give what was read off the wire with each of its texts, names of fields too, as `plain` has it."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plainly(name): plainly(one) for name, one in value.items()}
    return [plainly(one) for one in value] if isinstance(value, list | tuple) else value


def age(age_s: float | None) -> str:
    """Say how old something is."""
    if age_s is None:
        return "?"
    for unit_s, limit_s, unit in ((1, 90, "s"), (60, 5400, "min"), (3600, 172_800, "h")):
        if age_s < limit_s:
            return f"{age_s / unit_s:.0f} {unit}"
    return f"{age_s / 86_400:.0f} d"


def saved(told: Told) -> str:
    """Say what a hit saves; empty where nobody knows."""
    known = told.get("saved") or {}
    parts = []
    if known.get("s") is not None:
        parts.append(f"{known['s']:.1f} s")
    if known.get("tokens"):
        parts.append(f"{known['tokens']:.0f} tokens")
    if known.get("energy_j") is not None:
        parts.append(f"{'about ' if known.get('energy_estimated') else ''}{known['energy_j']:.1f} J")
    if known.get("cost_usd"):
        parts.append(f"{known['cost_usd']:.6f} USD")
    return ", ".join(parts)


def cache_line(told: Told) -> str:
    """Say in one line what the cache did: a hit with where it is from and what it saves, else why there was none, and what a look
    at likeness would have given."""
    return plain("; ".join(_parts(told)))


def _parts(told: Told) -> Iterator[str]:
    outcome, why = str(told.get("outcome", "unknown")), told.get("why")
    if outcome == "hit":
        yield _hit(told)
        if what := saved(told):
            yield f"saved {what}"
    else:
        yield f"{outcome} ({why})" if why else outcome
    if shadow := told.get("shadow"):
        yield _shadow(shadow)


def _hit(told: Told) -> str:
    source = told.get("source") or {}
    words = [f"hit, {told.get('kind', 'of an unknown kind')}"]
    if told.get("kind") == "semantic" and told.get("similarity") is not None:
        words.append(f"similarity {told['similarity']:.3f}")
    if told.get("chance") is not None:
        words.append(f"right with {100 * told['chance']:.1f} %")
    if told.get("age_s") is not None:
        words.append(f"{age(told['age_s'])} old")
    if source.get("device"):
        words.append(f"of {source['device']} with {source.get('model', 'an unknown model')}")
    if told.get("id"):
        words.append(f"entry {told['id']}")
    return ", ".join(words) + (f" ({told['why']})" if told.get("why") else "")


def _shadow(shadow: Told) -> str:
    would = "would have been given" if shadow.get("would") else "would not have been given"
    similarity = f", similarity {shadow['similarity']:.3f}" if shadow.get("similarity") is not None else ""
    why = f" ({shadow['why']})" if shadow.get("why") else ""
    return f"in the shadow entry {shadow.get('id', '?')}{similarity} {would}{why}"
