"""What a run keeps on disk, and by which recipe it may go on."""
