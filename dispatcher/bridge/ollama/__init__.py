"""Ollama's API as values: requests and lines in, our own messages out; only `routes` knows HTTP, and nothing here the bus."""
