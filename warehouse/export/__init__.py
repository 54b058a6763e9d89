"""Datasets out: rows of the warehouse as a folder that Hugging Face `datasets` loads, with a card that says what it is.

Columns are declared once (`columns`), rows stream (`staging`, `folder`), the card tells where all came from (`card`,
`provenance`). What needs a policy's prompts or a model's chat template is given by the caller: this room has neither.
"""
