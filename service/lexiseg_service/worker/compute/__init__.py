"""The stage that owns the device: who waits for it, the image passes of batches, the threads that run them."""
