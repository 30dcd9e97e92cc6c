"""Programs for Graphcore's IPU, and what runs them without one."""
