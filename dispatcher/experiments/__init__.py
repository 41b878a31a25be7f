"""What was measured, as the lab leaves it and the bridge shows it: manifests beside files of rows."""
