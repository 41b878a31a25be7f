"""Recorded jobs once more, on simulated fleets: what another fleet or strategy would have made of them."""
