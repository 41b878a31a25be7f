"""What `drover lab speed` measures: the same work with and without Drover, in turn, in one run, as ratios.

Machines are noisy; a ratio of two figures taken side by side says more than either.
"""
