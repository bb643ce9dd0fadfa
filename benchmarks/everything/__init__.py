"""What masks of everything cost: of `tiny` on photographs, of Unpair-Seg at its published size."""
