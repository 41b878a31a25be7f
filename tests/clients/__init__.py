"""The programs that people have, each in an environment of its own, against a real fleet: `make clients`."""
