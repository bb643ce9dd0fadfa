"""What a process has: its device, its memory, and the caches that bound it."""
