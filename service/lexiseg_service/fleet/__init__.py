"""Workers elsewhere: found, chosen, asked; streams that move from one to another."""
