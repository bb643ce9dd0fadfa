"""Official archives laid out as sets, pairs packed into shards, and sets checked before they are used."""
