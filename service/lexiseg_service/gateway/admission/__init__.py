"""Who may ask, and how much: keys, rates, requests at a time."""
