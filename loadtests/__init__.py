"""Load tests: locust users, hostile clients, fault injection, and other servers to compare with."""
