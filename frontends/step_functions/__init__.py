"""Step functions of the user's own, (state, input) to (state, output), as graphs."""
