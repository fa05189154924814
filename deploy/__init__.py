"""How Countersign is put to work: the local stack, the policies, the images."""
