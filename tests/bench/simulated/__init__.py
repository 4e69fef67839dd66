"""Programs that train nothing: what studies cost their driver, and what they find."""
