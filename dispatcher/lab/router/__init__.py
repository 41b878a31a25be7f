"""The trained router: labels in, weights, figures and plots out; no request passes here."""
