"""Features -> audio states -> logits: the Whisper transformer (Whisper paper, section 2.2).

Shapes in every docstring of the package:

    B  windows of 30 s           M  mel bins                W  mel frames (3000)
    S  audio positions (1500)    T  text tokens             D  width
    H  heads                     K  head width, D / H       L  layers
    V  vocabulary                G  hypotheses per window   N  rows of a decoding batch, B × G
    C  capacity of a cache: positions it has room for
"""
