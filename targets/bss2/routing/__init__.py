"""Where neurons are, and how events reach them."""
