"""RADSeg (arXiv 2511.19704): C-RADIO's patches by SigLIP 2's head, with texts of SigLIP 2; training-free."""
