"""What TCL learns from."""
