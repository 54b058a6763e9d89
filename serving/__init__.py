"""Serving: how a language model is reached. vLLM's life cycle, the client, the ledger of calls, packaged weights."""
