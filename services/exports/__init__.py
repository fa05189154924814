"""Exports: contact lists, and files of them for whoever was granted one.

decides  whether a grant authorises the very export that was asked for, to the row
reads    access.decisions.v1
writes   access.requests.v1
owns     contact lists and contacts, exports with their frozen contacts, files, spent grants

Who is a member of an account is not known here: the request is denied `member.unknown` where it is.
"""
