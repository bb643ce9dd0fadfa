"""What is measured on the clips of `../shared/data`: smoothing and tracks, and objects that are followed."""
