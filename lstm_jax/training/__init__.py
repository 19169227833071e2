"""Training: one run, or K runs of one shape in one compiled program.

Imports `explore` and the rooms below. `loop.run` trains a run from its config to its result; `program`
compiles, `session` is a run's part on the host, `state` what resuming needs, `objective` what is
minimised, `fields` what a config may hold, `optim` the update rules.
"""
