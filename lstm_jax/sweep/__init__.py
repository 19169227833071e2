"""Many runs that differ in a few fields: their definition, training and comparison.

define.py expands a sweep into members, run.py trains them in one of its modes, summary.py compares them.
"""
