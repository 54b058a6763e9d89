"""Questions to the warehouse that more than one command or asset asks."""
