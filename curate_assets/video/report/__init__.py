"""The dataset report: one HTML page that shows what became of a library of videos, and why.

`funnel` and `contents` gather what is to be said from the tables, as plain data; `page` turns it into text. The page
holds its pictures and its style, loads nothing, runs no script, and is the same to the byte for the same tables.
"""
