"""The head and the memory of SAM 2, which SAM 2.1, EdgeTAM, SAM 3 and CorrCLIP share."""
