"""What a request will cost here, and when it would be answered."""
