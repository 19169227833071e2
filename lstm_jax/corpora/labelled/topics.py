"""What is this paragraph about? Docstrings of Python's own library, by the chapter that documents the module.

A text is a paragraph of at least 8 words of a docstring (of a module, class or function); its label is one of
seven topics, after the chapters of Python's Library Reference; its document is the module, and whole modules
are held out, so that words of one module alone (its own names) are no help. Under Python 3.11.7 these are
9,999 paragraphs of 382 modules, 7,511 / 1,305 / 1,183 to train, validate and test. Topics are told by words
more than by their order.
"""

import ast
import re
import warnings
from collections.abc import Iterator

from lstm_jax.corpora.labelled.library import modules, version
from lstm_jax.corpora.labelled.texts import LabelledTexts, Row, checked, split_documents, without_repeats

__all__ = ["TOPICS", "load", "paragraphs"]

TOPICS: dict[str, str] = {
    "text and data": """string re difflib textwrap stringprep reprlib pprint codecs struct gettext locale
        datetime calendar collections _collections_abc heapq bisect weakref types copy enum graphlib zoneinfo
        dataclasses _weakrefset array json csv configparser tomllib plistlib pickle pickletools copyreg shelve
        dbm sqlite3 _strptime""",
    "numbers": "numbers decimal _pydecimal fractions random statistics colorsys",
    "files and system": """pathlib fileinput stat filecmp tempfile glob fnmatch linecache shutil os posixpath
        ntpath genericpath zipfile tarfile gzip bz2 lzma io _pyio platform getopt optparse argparse logging
        getpass _compression pty pipes""",
    "concurrency": "threading multiprocessing concurrent asyncio subprocess sched queue selectors signal "
    "_threading_local contextvars asyncore asynchat",
    "internet": """http urllib email ftplib smtplib smtpd imaplib poplib nntplib telnetlib socket socketserver
        ssl xmlrpc wsgiref cgi cgitb uuid ipaddress html xml mailbox mailcap mimetypes webbrowser base64
        quopri uu netrc hmac secrets""",
    "windows on a screen": "tkinter idlelib turtle turtledemo curses cmd",
    "programming": """unittest doctest pydoc pdb bdb trace traceback tracemalloc inspect ast dis tokenize
        symtable pyclbr profile cProfile pstats timeit compileall py_compile importlib imp zipimport pkgutil
        modulefinder runpy typing abc contextlib functools operator warnings site venv ensurepip zipapp code
        codeop rlcompleter sysconfig tabnanny token keyword""",
}
"""Topic -> the modules and packages of it."""
WORDS = 8
"""Of a paragraph, at least."""


def paragraphs(source: str) -> Iterator[str]:
    """The paragraphs of all docstrings of a module, each as one line."""
    with warnings.catch_warnings(action="ignore"):  # old sources have escapes that are deprecated
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                if len(re.findall(r"\w+", paragraph)) >= WORDS:
                    yield " ".join(paragraph.split())


def load(held_out: float, split_seed: int) -> LabelledTexts:
    """The paragraphs, by whole modules in three splits. Raises UserError where Python has no sources."""
    topics = {module: topic for topic, names in TOPICS.items() for module in names.split()}
    rows = []
    for path, source in modules():
        topic = topics.get(path.split("/")[0].removesuffix(".py"))
        if topic:
            rows += [Row(text, topic, path, path) for text in paragraphs(source)]
    parts = without_repeats(split_documents(rows, held_out, split_seed))
    return checked(parts, "punctuation", {"source": "topics", "python": version()})
