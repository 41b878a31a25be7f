"""Anthropic's messages API: a request read, an answer written, and its routes."""
