"""The program `tympan`.

main        which command is meant; exit codes
commands    every command by its name, each with a module of its own: transcribe, models, convert, captions,
            mic, align, wer, compare, doctor (with self_test), completion, help (manual)

of transcribing:
request     its options, checked and put in order; transcribe_flags, model_flags, caption_flags, peer_flags
inputs      the recordings that were named; fetch gets those on the web, naming names files
run         the work on all of them; report tells how it goes, pace how fast
journal     what an interrupted run had found
outputs     what is printed and which files are written

of all:
parser      how options may be spelled; flags makes them from the fields of a dataclass
console     stdout for results, stderr for everything else; progress draws the bar
library     the calls of the library that transcribing makes
options_page   the page of all options
"""
