"""What producers, dispatcher and agents share: wire values, codec, bus, settings, logs. It imports nothing of ours."""
