"""What is asked and answered, and the seam between gateway and worker; it imports neither of them."""
