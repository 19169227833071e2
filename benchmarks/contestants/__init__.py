"""Who is timed: `build(shape, precision) -> (run, device)`, in one module a contestant.

`run(steps)` makes that many training steps (forward, backward, clip, SGD update, the carry handed on), each
on another window, waits until they are done, and returns the last loss. It is called alone: the contestants
live in processes of their own, so that neither's threads or memory meet another's.
"""

__all__ = ["CONTESTANTS"]

CONTESTANTS = {
    "lstm_jax": "contestants.ours",
    "lstm_jax-scan": "contestants.ours_scan",
    "flax": "contestants.flax_linen",
    "flax-loop": "contestants.flax_loop",
    "torch": "contestants.pytorch",
}
"""name -> module. flax is called once a step, as its examples do; flax-loop makes many steps in one call."""
