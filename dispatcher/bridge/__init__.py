"""HTTP in front of the bus: OpenAI's chat API and the chat page. A producer like any other: it knows nothing of routing."""
