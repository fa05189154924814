"""What is wrong with an installation and what to do about it. One module a concern; nothing here changes anything."""
