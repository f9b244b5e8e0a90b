"""A network on a sliding window as one that is given only what is new of it: see :mod:`.push`."""
