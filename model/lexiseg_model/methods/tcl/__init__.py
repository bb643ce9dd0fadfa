"""TCL: text-grounded contrastive learning of masks over a frozen CLIP (Cha, Mun, Roh, CVPR 2023)."""
