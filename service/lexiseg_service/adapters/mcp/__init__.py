"""Tools for language models over the Model Context Protocol: `lexiseg mcp`, and /mcp of a gateway."""

from lexiseg_service.adapters.mcp.mounting import mount as mount
