"""Boats of a harbour: a domain of another distribution."""
