"""Millions of pictures, in chunks whose rows are files of parquet."""
