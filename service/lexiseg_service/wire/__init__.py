"""Between the messages of proto/lexiseg/v1 and the service's own words. Free of torch; both sides of the hop use it."""
