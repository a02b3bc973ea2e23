"""Cross-attention -> word times: which stretch of the audio each written word was heard in.

`alignment` finds where every token starts, by way of `dtw`; `word_times` makes words of tokens and keeps
their times plausible; `punctuation` joins marks to the words they are written at. The method is that of
openai-whisper's `find_alignment` and `add_word_timestamps`. Nearer to the voice are `heard`, which reads the
same attention otherwise, and `snap`, which moves words to where the sound begins and ends. Shape letters are
those of `tympan.model`.
"""
