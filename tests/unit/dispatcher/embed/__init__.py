"""The embedder tiers, their files and the service."""
