"""The HTTP bridge."""
