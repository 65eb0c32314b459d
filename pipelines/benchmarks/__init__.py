"""Scripts that print tables of measurements; none of them is a test."""
