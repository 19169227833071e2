"""A run on disk and in its process: directory, checkpoints, metrics, provenance, progress, interrupts.

Imports `support` only; sees arrays, never a model. `directory.RunPaths` names the files of a run,
`checkpoint` saves and restores its state, `metrics` writes and reads its figures.
"""
