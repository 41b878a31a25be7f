"""Who may come in, and with how much: the only module of this package that routes need."""

from dispatcher.bridge.gate.gate import Asks, Gate, Keys, Need, Place, caller_of, confined

__all__ = ["Asks", "Gate", "Keys", "Need", "Place", "caller_of", "confined"]
