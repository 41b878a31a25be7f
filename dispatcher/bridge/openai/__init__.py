"""OpenAI's chat API as values: a request read, an answer written; no socket and no job is known here."""
