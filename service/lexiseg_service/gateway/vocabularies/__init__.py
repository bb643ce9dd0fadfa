"""Named class lists: those of the public benchmarks, which cannot be changed, and the users' own."""
