"""Answers of a backbone behind a frame: the one scoring path, free text, and the probe that lets rows share a prefix."""
