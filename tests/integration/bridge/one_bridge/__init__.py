"""The HTTP bridge, one for all tests of a file."""
