"""How a tuned part learns: the one loop, what it is held to, the configurations it tries, its teacher, its way back after a crash."""
