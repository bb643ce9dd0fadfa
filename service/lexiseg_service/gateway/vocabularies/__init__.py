"""Named class lists: built-in ones of public benchmarks, and the users' own."""
