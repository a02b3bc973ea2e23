"""A recording of any length -> segments: windows that move by what was recognised in them.

`transcriber` is the front; `sequential` holds the loop, which composes the small functions of `windows`,
`fallback` and `segments`. The algorithm is section 3.8 of the Whisper paper and openai-whisper's `transcribe`.
"""
