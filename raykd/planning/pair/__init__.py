"""Whether two models can be teacher and student, and what that would cost."""
