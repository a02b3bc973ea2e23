"""A recording of any length -> segments: windows that move by what was recognised in them.

`transcriber` is the front, `job` one recording in the making. `loop` goes from window to window and composes
the small functions of `windows`, `fallback`, `segments`, `guards` and `spoken_languages`; `scheduler` lets
many loops have their windows decoded together by `window_decoder`, and `parts` says which. The algorithm is
that of the Whisper paper, section 4.5, and of openai-whisper's `transcribe`.
"""
