"""Notices: texts that tell people what changed on their account or was done with it.

Once each, apart from codes: codes go first, and what is an hour old is not told any more.
"""
