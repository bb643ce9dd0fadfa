"""Writers of the pages in docs/ that hold figures."""
