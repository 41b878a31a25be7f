"""Building, choosing and checking embedders; the dispatcher itself needs none of it."""
