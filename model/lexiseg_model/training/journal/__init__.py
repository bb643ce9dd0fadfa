"""What a run says while it goes on: lines, a bar, trackers, sample pictures."""
