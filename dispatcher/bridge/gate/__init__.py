"""Who may come in, and with how much: the only module of this package that routes need."""

from dispatcher.bridge.gate.gate import Gate, Place, caller_of

__all__ = ["Gate", "Place", "caller_of"]
