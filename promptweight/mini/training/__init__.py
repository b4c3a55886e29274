"""Training of the built-in models: data, losses, networks and the command `train`."""
