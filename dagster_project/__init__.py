"""Orchestration: assets, checks, partitions, resources, jobs, sensors and the `envloom` command. No logic here."""
