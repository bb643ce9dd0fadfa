"""What is asked of every pixel, in C. Everything here is also there in numpy, which gives the same answers."""
