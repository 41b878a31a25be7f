"""Topics of one's own domains: examples in, centroids and how well they part out; no request passes here."""
