"""The delivery core in a world of its own: virtual time, a bus with faults, devices that misbehave, and invariants that must hold."""
