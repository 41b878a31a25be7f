"""The router: what stands between a job and the pure decision; it holds what is learnt from job to job and delivers nothing."""

from dispatcher.router.router import Router

__all__ = ["Router"]
