"""Asking hosted models: the guarded way to them, the words they get, what their answers mean, and the pace. Knows no job and no rows."""
