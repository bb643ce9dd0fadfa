"""Video benchmarks on clips of DAVIS 2016: smoothing, tracks, and following an object."""
