"""`lexiseg site`: the playground as a folder of files that needs no service."""
