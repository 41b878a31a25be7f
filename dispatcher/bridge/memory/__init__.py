"""What a model is told of the turns before: decided by values alone, without asking anybody."""
