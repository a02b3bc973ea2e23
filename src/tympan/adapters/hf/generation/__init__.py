"""`generate` with transformers' arguments, and what it is made of; `generate` is where to start reading."""
