"""A PopTorch script from a discrete graph, and a stand-in for PopTorch that runs it on a CPU."""
