"""Weights and programs for other libraries: PyTorch, safetensors, flax linen and nnx, `jax.export`.

Imports `models` and the rooms below. `torch` and `leaves` convert weights, `linen` and `nnx` make a cell
here a cell there, `export` and `program` write and read a program that needs jax alone.
"""
