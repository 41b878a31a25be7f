"""What is read, what is refused, and what the rules say."""
