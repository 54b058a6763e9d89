"""Generators: a brief becomes an environment and candidate tasks. LLM stages, prompts, domains."""
