"""The program `tympan`.

main        which command is meant; exit codes
transcribe  the command that writes down recordings
convert     the command that writes a checkpoint in another form
captions    the command that cuts transcripts into captions
request     its options, checked and put in order
parser      how options may be spelled
flags       options made from the fields of a dataclass
outputs     what is printed and which files are written
console     stdout for results, stderr for everything else
progress    the display of how far a recording is
library     the calls of the library that transcribing makes
"""
