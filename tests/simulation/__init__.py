"""The delivery core in a world of its own: virtual time, a bus with faults, bad devices, and invariants that must hold."""
