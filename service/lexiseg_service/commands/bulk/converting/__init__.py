"""What `lexiseg bulk` wrote, for other tools."""
