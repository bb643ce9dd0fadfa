"""A model on public benchmarks by a protocol, beside what is published."""
