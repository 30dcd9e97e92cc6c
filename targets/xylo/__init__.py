"""Configurations of the Xylo chips, and their emulator."""
