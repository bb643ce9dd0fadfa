"""Commands that join `lexiseg` by the entry points `lexiseg.commands`: they alone import the service."""
