"""Simulated networks of finite width, the witness of every prediction."""
