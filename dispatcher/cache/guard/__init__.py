"""Whether a question may be answered with the answer to another one that looks like it. Pure: texts in, a judgement out."""

from dispatcher.cache.guard.judge import Judge, Judgement

__all__ = ["Judge", "Judgement"]
