"""Forward passes beside the released code's own, on random weights."""
