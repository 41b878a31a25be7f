"""The stream of what happens, for the page: kept once for all who look, and only while somebody does."""
