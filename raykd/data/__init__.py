"""Where examples come from: preparing, describing, ordering and streaming them."""
