"""Weights: those in the package, and those that users bring."""
