"""The agent that runs on every device: it dials out to NATS, takes jobs for its own subject and runs them on a backend."""
