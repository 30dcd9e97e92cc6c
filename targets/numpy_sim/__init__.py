"""The NumPy target: the reference simulator and a folder that runs with NumPy alone."""
