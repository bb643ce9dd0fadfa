"""The parts of Unpair-Seg's network."""
