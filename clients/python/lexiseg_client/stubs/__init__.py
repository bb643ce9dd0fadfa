"""Generated from proto/lexiseg/v1 by proto/generate.py; changes are lost."""
