"""A simulated edge device: a server that speaks Ollama's API with the speed, memory, power and faults of a real board.

It stands for somebody else's server, so it imports nothing of ours: agents talk to it as they talk to Ollama. The steps of
a request are the files: requests (parse), answering (check and load), engine (load, slots, keep-alive), script (what is
said), inference (said in the device's time), wire (the shapes), responses (sent, until the client hangs up).
"""
