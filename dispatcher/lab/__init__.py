"""Bench, training, evaluation, replay: off the request path, and imported by no step."""
