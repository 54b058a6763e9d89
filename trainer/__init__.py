"""Trainer: rollouts become rewards, advantages, an update and a checkpoint; and evaluation."""
