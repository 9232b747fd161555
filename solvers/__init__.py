"""Numerics that know nothing of networks: linear circuits, lazily revealed Gaussian matrices, spectra."""
