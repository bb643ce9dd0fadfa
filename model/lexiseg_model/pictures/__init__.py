"""The one reader of pictures: allowed formats, headers, orientation, depth, alpha. Free of torch.

bytes -> header.read_header (format, size, orientation, colours) -> reader.read (upright RGB of 8 bits, warnings)

Sets, the service and the commands read photographs here and nowhere else, so that they see the same pixels of the same
file. Pillow and pi-heif are enough; with simplejpeg JPEG is quicker, and OpenCV decodes deep colours of TIFF.
"""

MIN_SIDE = 16  # pixels, unless LEXISEG_MIN_SIDE says otherwise; data sets leave smaller pictures out
