"""Graphs as modules of snnTorch, Sinabs, SpikingJelly and Norse."""
