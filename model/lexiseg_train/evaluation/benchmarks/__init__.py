"""A model on public benchmarks by a protocol, next to what is published."""
