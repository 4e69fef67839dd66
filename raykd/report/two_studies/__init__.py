"""Two studies side by side: what differs in their files, and which answers changed."""
