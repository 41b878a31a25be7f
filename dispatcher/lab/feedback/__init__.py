"""Whether feedback helps: a fleet whose speeds shift, routed with fixed and with learned weights."""
