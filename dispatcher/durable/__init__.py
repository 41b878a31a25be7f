"""The durable lane: jobs that lie in a stream until their result is stored; the pipeline runs them like any other."""
