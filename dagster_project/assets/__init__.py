"""The assets: each asks one function of a room, records what came, and reports it."""
