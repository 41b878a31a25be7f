"""One module for each step; what is written there is never changed, since somebody's database stands on it."""
