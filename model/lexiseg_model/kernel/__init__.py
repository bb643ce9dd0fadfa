"""Per-pixel post-processing in C, called through ctypes. The numpy fallback in `masks` gives equal results."""
