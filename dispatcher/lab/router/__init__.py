"""The trained router: labels in, weights, figures and plots out; no request passes here.

No weights are shipped: a router that was trained on one pair of models and kind of prompts orders others by chance (APGR 0.50 to
0.56 measured), so it would cost trust and save nothing. Some hundred labels of one's own traffic do better.
"""
