"""S-Seg+: a supervised student of S-Seg's labels, for one class list (S-Seg, arXiv 2401.12217, self-training)."""
