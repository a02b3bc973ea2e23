"""Other systems, and ours, each in a process of its own, with the same weights.

    weights.py   the weights of one model in every system's format, written once under out/bench
    systems/     one module for each system: weights -> a function that transcribes
    worker.py    the process: a request a line in, an answer a line out
    process.py   the parent's side: start workers, let them run in turn, collect seconds, texts and memory

A process for each system makes the peak memory its own. An idle worker waits for a line and uses no
processor. All hear the same samples, read by tympan before the clock starts.
"""
