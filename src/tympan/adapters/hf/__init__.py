"""The names, arguments and shapes of Hugging Face transformers, translated to the stages."""
