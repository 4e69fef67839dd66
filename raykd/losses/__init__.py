"""What is minimised: pure functions of tensors, one value per scored position."""
