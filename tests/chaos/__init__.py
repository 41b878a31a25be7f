"""The fault suite: real processes, real signals, real connections that break, and a ledger of every job."""
