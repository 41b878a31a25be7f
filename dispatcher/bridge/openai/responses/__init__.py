"""OpenAI's responses API without a memory: each request has all that the answer needs."""
