"""Answers without a device: whether one that was given before may be given again. It knows neither bus nor delivery's attempts."""
