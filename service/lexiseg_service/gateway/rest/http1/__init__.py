"""The server of HTTP/1.1: its connections, their clocks and their bounds."""
