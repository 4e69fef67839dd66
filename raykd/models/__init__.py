"""What is trained and imitated: transformers models, read at scored positions."""
