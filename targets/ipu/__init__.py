"""The ipu target: programs for Graphcore's IPU, with a plan of its tiles and an emulator."""
