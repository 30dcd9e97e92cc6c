"""The XLA target: one jitted program per schedule, exportable as StableHLO."""
