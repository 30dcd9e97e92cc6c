"""Speck: event-driven convolutional chips of SynSense."""
