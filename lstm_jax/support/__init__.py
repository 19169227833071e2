"""What every room uses: notation, errors, lookup by name, key streams, named leaves, CSV files.

Imports no other room. `errors.UserError` is the exception for what a person can correct;
`registry.lookup` answers a wrong name with the nearest one; `rng.stream` derives a key from a name and a
step.
"""
