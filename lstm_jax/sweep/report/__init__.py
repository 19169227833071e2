"""A finished or unfinished sweep as one page that opens offline: `experiments/report.py`.

charts.py makes its charts, page.py fills template.html with them, and with the table of the terminal.
"""
