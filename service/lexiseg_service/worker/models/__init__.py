"""Which models a worker holds, and the memory that they take."""
