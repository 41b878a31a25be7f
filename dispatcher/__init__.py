"""The dispatcher: intake, admission, routing, delivery and record, in the order of a job's life."""
