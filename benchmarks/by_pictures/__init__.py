"""Classes that pictures show: by example, and taught."""
