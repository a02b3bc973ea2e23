"""Token ids <-> text: tokenizer, languages, and the normalisers that texts are compared after."""
