"""RADSeg (arXiv 2511.19704): C-RADIO patches mapped by a SigLIP 2 head and compared with texts; training-free."""
