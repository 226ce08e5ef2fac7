"""`make bench`: the engine against its peers, on one machine, at equal results. Knows the engine and its peers, nothing of the web."""
