"""`drover bench`: the same questions through a fleet under each strategy, side by side, as CSV and as one HTML page."""
