"""The surface of a simple router over models: one prompt, one answer, and the model that gave it; a file may come with it."""
