"""Records to rows and back, one file a family: the shape in which each kind of record lies in the warehouse."""
