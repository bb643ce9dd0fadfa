"""Requests and answers, and the interface between gateway and worker; imports neither of them."""
