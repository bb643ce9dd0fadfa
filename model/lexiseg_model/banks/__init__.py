"""What banks are made of, kept for whoever asks again."""
