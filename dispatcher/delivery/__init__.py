"""Delivery: hand the job to a device, watch the clocks, move it to another when it must be; the producer sees one answer."""
