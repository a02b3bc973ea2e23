"""A recording of any length -> segments: windows that move by what was recognised in them.

`transcriber` is the front; `sequential` holds the loop, which composes the small functions of `windows`,
`fallback` and `segments`. The algorithm is that of the Whisper paper, section 4.5, and of openai-whisper's
`transcribe`.
"""
