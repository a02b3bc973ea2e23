"""Logits -> token ids: the search for what was most likely said in one window of 30 s.

`prompt` states what the decoder is told, `rules` what it may not write, `sample` and `beam` choose tokens,
`generate` is the loop. Shape letters are those of `tympan.model`.
"""
