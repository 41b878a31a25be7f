"""A job in rounds: one run of the courier for most, and more where a question is classified or a weak answer checked first.

It stands between the pipeline, which sees one job with one end, and the courier, which sees one run at a time.
"""

from dispatcher.rounds.classifier import Classifier
from dispatcher.rounds.rounds import Manners, Rounds

__all__ = ["Classifier", "Manners", "Rounds"]
