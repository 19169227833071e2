"""Many runs that differ in a few fields: what they are, how they are run, and what came of them.

define.py expands a sweep into members, run.py trains them in one of its modes, summary.py compares them.
"""
