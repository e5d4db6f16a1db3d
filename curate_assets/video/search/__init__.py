"""Searching what is stored of clips: by words, by what captions mean, and by pictures."""
