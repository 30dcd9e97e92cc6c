"""Torch modules of snnTorch, Sinabs, SpikingJelly and Norse, read by recording a short run."""
