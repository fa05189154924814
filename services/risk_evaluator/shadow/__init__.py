"""Recorded requests under another policy, from the topics alone: nothing is written and nothing is published.

`model` is what is asked and answered, `places` the known places under the new policy, `recorded` what was believed of
a request when it was judged, `redecide` goes through the log, `command` is the program.
"""
