"""Environments: what they are, how an episode runs, how a verdict is reached, how a task is proven."""
