"""Drover's own API over HTTP, below `/api/v1/`: the same values as on NATS, and what operators and owners of conversations need."""
