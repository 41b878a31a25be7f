"""Whole processes, as a user meets them."""
