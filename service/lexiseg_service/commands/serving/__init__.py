"""`lexiseg serve`, `gateway`, `worker` and `keys`."""
