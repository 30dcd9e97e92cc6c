"""Training for the chip."""
