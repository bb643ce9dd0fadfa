"""Commands that join `lexiseg` by the entry points `lexiseg.commands`; `program` is what they ask of it."""
