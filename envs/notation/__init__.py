"""How values are written: one module per kind of notation, all of them on folded text.

`envs.facts` asks whether an answer tells a value; the modules here only read. A notation that cannot be read with
certainty is not read at all.
"""
