"""What calls over the wire cost, in CPU of the processes that answer."""
