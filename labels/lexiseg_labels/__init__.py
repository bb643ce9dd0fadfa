"""What results are: `Segmentation`, masks, and each format of labels, written and read. Needs only numpy."""
