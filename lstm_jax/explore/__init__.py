"""A local page on which a person types text and sees what a run expects, is surprised by, and keeps in mind.

`view` has the numbers, `app` the addresses and their bounds, `headers` what every answer is sent with, and
`serve` the socket; templates/ and static/ are the page. Their libraries are the extra `explore`.
"""
