"""How the tables came to be, step by step: a database of any earlier step is brought up to date, and one of a later refused."""
