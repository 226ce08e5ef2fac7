"""The product: its nouns, what can happen to them, pages, API and admin. Knows no torch and imports nothing from `workers`."""
