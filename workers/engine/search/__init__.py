"""Searches for a better written prompt: by rule and successive halving, or by DSPy's optimisers."""
