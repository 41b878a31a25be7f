"""What strangers send as files: looked at in processes of their own, which are bounded and shut off, and never in the bridge."""
