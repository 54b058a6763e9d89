"""What `envloom export` writes: tasks, rollouts, preferences and examples, for other tools to read."""
