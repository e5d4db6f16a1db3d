"""The dataset report: one HTML page that shows what became of a library of videos, and why.

`contents` gathers what is to be said from the tables, as plain data, a module for each section: what several of these
look at is in `library`. `page` turns it into text. The page holds its pictures and its style, loads nothing, runs no
script, and is the same to the byte for the same tables.
"""
