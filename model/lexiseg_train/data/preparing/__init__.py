"""Official archives laid out as sets to train and measure on."""
