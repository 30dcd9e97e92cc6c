"""The tables of `benchmarks/traps.py`, by what they are about."""
