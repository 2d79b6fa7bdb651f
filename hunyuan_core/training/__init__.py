"""Training of the networks, and a drawn world to train and test them on."""
