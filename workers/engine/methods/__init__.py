"""What can be learned in front of a row or inside a model: every tuned method, its start, its folder, and what it has learned."""
