"""What strangers send as files: looked at in processes of their own, which are small, short and shut off, and never in the bridge."""
