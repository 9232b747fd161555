"""Figures of the theory beside simulated networks: named, computed from a seed, cached, drawn in one style."""
