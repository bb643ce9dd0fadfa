"""Encoded images: headers, ids, sample photographs, and fetching by URL."""
