"""Video benchmarks on the clips of `../shared/data`: smoothing, tracks, and following an object."""
