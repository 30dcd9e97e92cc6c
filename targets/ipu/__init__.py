"""Graphcore's IPU: networks placed on its tiles, and scripts for its torch."""
