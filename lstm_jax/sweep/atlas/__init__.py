"""The memory atlas: every cell on every task at equal parameters, many members to a program."""
