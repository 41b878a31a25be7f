"""The process that looks at what strangers sent. It knows nothing of the bridge, and imports nothing of it but how they talk."""
