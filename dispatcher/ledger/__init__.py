"""What happened, kept: jobs, device events and power in SQLite or PostgreSQL; it hears of them over a stream, and knows no step."""
