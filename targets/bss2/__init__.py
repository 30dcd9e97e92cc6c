"""BrainScaleS-2: networks placed and routed on HICANN-X, and what emulates it."""
