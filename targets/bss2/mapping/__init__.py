"""From a graph to circuits: what neurons are, and their calibration targets and integer weights."""
