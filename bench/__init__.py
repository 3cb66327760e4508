"""Measurements: how fast (`qingliu bench`, bench/parts), how well (detection, cases), what breaks it (faults, attacks).

They run from a checkout and are no part of the installed package.
"""
