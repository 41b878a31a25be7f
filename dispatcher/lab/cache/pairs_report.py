"""What a judge does with labelled pairs, each alone in its scope: figures by kind, and every wrong one that it would give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.cache.guard.judge import Judge
from dispatcher.embed import Embedder
from dispatcher.lab.cache.data import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A pair, how alike its vectors are, and whether the judge gives the one's answer to the other."""

    pair: Pair
    similarity: float
    given: bool


def served(pairs: Sequence[Pair], judge: Judge, embedder: Embedder) -> list[Served]:
    """Have pairs judged."""
    found = []
    for pair in pairs:
        one, other = embedder.embed([pair.asked, pair.kept])
        similarity = float(one @ other)
        given = similarity >= judge.least_similarity and judge.judge(pair.asked, pair.kept, similarity).same
        found.append(Served(pair=pair, similarity=similarity, given=given))
    return found


def pairs_text(found: Sequence[Served], heading: str) -> str:
    """Write how many are given, by kind, and list those that are given and wrong."""
    lines = [f"\n{heading}"]
    for same, what in ((False, "another question"), (True, "the same question")):
        of = [one for one in found if one.pair.same is same]
        if of:
            given = sum(one.given for one in of)
            alone = [sum(one.similarity >= cut for one in of) for cut in (0.8, 0.9)]
            share = 100 * given / len(of)
            lines.append(
                f"  {what}: {given} of {len(of)} given ({share:.1f} %); plain cosine 0.80: {alone[0]}, 0.90: {alone[1]}"
            )
            kinds = Counter(one.pair.kind or "no kind" for one in of)
            passed = Counter(one.pair.kind or "no kind" for one in of if one.given)
            lines.append("    " + ", ".join(f"{kind} {passed[kind]}/{kinds[kind]}" for kind in sorted(kinds)))
    lines += [
        f"  given and wrong: {one.pair.asked!r} for {one.pair.kept!r} ({one.pair.kind}, {one.similarity:.3f})"
        for one in found
        if one.given and not one.pair.same
    ]
    return "\n".join(lines)
