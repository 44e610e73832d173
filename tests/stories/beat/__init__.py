"""Beat: several real beats, of which one sends, and what becomes of the ticks when it is struck."""
