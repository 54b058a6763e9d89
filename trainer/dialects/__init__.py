"""How policies are told of tools and how they write calls: in our compact syntax, or in the one a model was taught.

`protocol` says what a dialect is, `compact`, `hermes` and `llama` are the three, `choice` picks one for a tokenizer.
"""
