"""From a template and a row to token ids: the declared frame, its examples and its first step. Knows no tuned part."""
