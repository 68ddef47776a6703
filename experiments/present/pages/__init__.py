"""A page of every run, of every sweep, and of all: what a browser shows of stored results.

`rows.py`, `pictures.py` and `render.py` say what is on them, `renew.py` writes them.
"""
