"""Training of rescalers: data, losses, loop and recipes."""
