"""Token ids <-> text, over the `tokenizers` library. Written below."""
