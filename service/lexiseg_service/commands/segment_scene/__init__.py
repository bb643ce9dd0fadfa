"""`lexiseg segment-scene`: rasters of any size."""
