"""How a call proceeds, whatever carries it: its steps, and when one is taken again."""
