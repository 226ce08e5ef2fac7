"""The approaches that a comparison can hold: their dials, ranges and help, and on which models they run. Knows no table."""
