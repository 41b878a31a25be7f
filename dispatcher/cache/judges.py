"""Which judge there is for an embedder: reads what was trained, and says once what is used instead; it judges nothing itself."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from common.errors import ConfigError, WeightsMismatch
from common.logs import get_logger
from dispatcher.cache.guard import Judge
from dispatcher.cache.guard.rules import LEAST_SIMILARITY, RuleJudge
from dispatcher.cache.guard.verifier import VerifierJudge
from dispatcher.cache.verifier_file import read_verifier
from dispatcher.embed import EmbedderId, EmbeddingService

log = get_logger("cache")

SHIPPED, RULES = "shipped", "rules"
SHIPPED_FILE = "verifier-static.npz"
"""The verifier that comes with the package, in `dispatcher/cache/data`, for the static embedder that comes with it."""


def open_judge(setting: str, embedding: EmbeddingService, *, error_rate: float) -> Judge:
    """Open the judge that the owner named: `shipped`, `rules`, or the file of a trained one. `shipped` is made for one embedder:
    with another one the rules judge.

    Raises `WeightsError` or `WeightsMismatch` for a file that can't be used, and `ConfigError` for an error rate that it was not
    calibrated to.
    """
    identity = embedding.identity
    if setting == RULES or identity is None:
        return rules_for(identity)
    if setting != SHIPPED:
        return trained(Path(setting), identity, error_rate)
    with resources.as_file(resources.files("dispatcher.cache") / "data" / SHIPPED_FILE) as file:
        if not file.exists():
            return rules_for(identity)
        try:
            return trained(file, identity, error_rate)
        except WeightsMismatch:
            log.info("cache.rules_judge", embedder=str(identity), instead_of=SHIPPED, train="drover lab train-verifier")
            return rules_for(identity)


def trained(path: Path, identity: EmbedderId, error_rate: float) -> VerifierJudge:
    """Open a trained verifier for an embedder. Raises like `open_judge`."""
    from dispatcher.embed.static import StaticEmbedder  # noqa: PLC0415  # its library takes 4 MB, and rules need none of it

    words = StaticEmbedder.open()
    verifier, _ = read_verifier(path, embedder=str(identity), words=str(words.identity))
    try:
        return VerifierJudge(verifier, error_rate, words.pieces)
    except ValueError as error:
        raise ConfigError(
            f"DROVER_CACHE_ERROR_RATE: {path.name} was not calibrated to it ({error}): take a rate in between, or rules with "
            "DROVER_CACHE_VERIFIER=rules"
        ) from error


def rules_for(identity: EmbedderId | None) -> RuleJudge:
    """Give the rules, with the least cosine of an embedder's tier."""
    tier = "static" if identity is None else identity.name.removeprefix("minilm-")
    return RuleJudge(LEAST_SIMILARITY.get({"int8": "minilm"}.get(tier, tier), LEAST_SIMILARITY["static"]))
