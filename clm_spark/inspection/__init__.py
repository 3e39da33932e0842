"""A first look at a log: what it is, a draft of its mapping, and what would become of it."""
