"""Arithmetic on answers that exist: metrics, forms, budgets. Knows no model and no run on its way."""
