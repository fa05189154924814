"""Known places made anew from the topics, held against those that the service goes by, and put in their place.

`model` is what is asked and answered, `refold` folds the topics into fresh tables with the service's own folds,
`tables` compares and swaps, `command` is the program.
"""
