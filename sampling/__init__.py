"""Populations of units that solve dynamical mean-field theory in one forward pass, and their adjoints."""
