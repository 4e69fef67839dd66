"""Every file of cluster/ is what the programs that read it expect, and they agree."""
