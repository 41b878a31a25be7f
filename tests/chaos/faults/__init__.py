"""The faults F1 to F13, each acted out in a world of its own."""
