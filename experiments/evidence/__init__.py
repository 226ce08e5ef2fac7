"""Statistics over paired predictions: rates, pairs, confusion, verdicts. `experiments.comparison` joins them. Pure: no Django."""
