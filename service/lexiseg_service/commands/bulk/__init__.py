"""`lexiseg bulk`: millions of pictures, each once, into parquet."""
