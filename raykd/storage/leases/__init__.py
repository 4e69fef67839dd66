"""One writer at a time: who holds a place in storage, and how it passes on."""
