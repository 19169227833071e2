"""What a trained network does: functions of arrays that return arrays and figures.

Imports `predict` and the rooms below. Each module answers one question (time scales, gates, gradients by
lag, loss by context, ...); `instruments` applies them to a run's directory; `style` and `files` are how
every figure is drawn and written.
"""
