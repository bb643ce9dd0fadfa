"""Jobs over many or very large pictures: pace against a bare loop, and memory."""
