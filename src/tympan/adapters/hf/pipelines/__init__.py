"""`pipeline` with transformers' arguments, for the two tasks that Whisper does."""
