"""A page to type text on and look inside a run: `python experiments/explore.py --run=runs/small`."""

import signal
import sys

from lstm_jax import cli

USAGE = """
Starts a page on this machine: type text, and see which words the run expects next, how surprising it found
each, and what its gates and cell state did. A classifier's run shows its labels. Ctrl-C ends it.

  python experiments/explore.py --run=runs/small
  python experiments/explore.py --run=runs/small --port=0

Only this machine can open the page, unless --host says otherwise; then anybody who reaches the machine can:
there is no password. Nothing that is typed is kept. Needs the extra: pip install -e '.[explore]'
"""


def define_flags() -> None:
    cli.define("string", "run", "", "Directory of the run (what --workdir was in training).")
    cli.define("string", "host", "127.0.0.1", "Address of this machine to listen at; 0.0.0.0 is all.")
    cli.define("integer", "port", 8765, "Port to listen at; 0 takes any that is free.")
    cli.define("list", "names", [], "Further names by which the page may be asked for, e.g. a proxy's.")


def main(arguments: list[str]) -> None:
    from lstm_jax.runs.interrupts import Interrupted

    try:
        explore(arguments)
    except KeyboardInterrupt:  # before the page was there
        raise Interrupted(signal.SIGINT, "stopped") from None


def explore(arguments: list[str]) -> None:
    from absl.flags import FLAGS

    from lstm_jax.explore import serve
    from lstm_jax.explore.app import make_app, need_libraries
    from lstm_jax.explore.view import view_of
    from lstm_jax.predict import Run
    from lstm_jax.predict.standard_input import check_arguments

    check_arguments(arguments, FLAGS.run)
    need_libraries()
    run = Run(FLAGS.run)
    hosts = serve.allowed_hosts(FLAGS.host, FLAGS.names)
    with serve.listen(FLAGS.host, FLAGS.port) as listener:
        address = serve.address_of(listener)
        if not serve.is_loopback(FLAGS.host):
            warning = (
                f"WARNING: --host={FLAGS.host} lets everybody who reaches this machine open the page, "
                "without a password; leave --host out to keep it to yourself. It may be asked for as "
                f"{', '.join(hosts)}; add other names with --names"
            )
            print(warning, file=sys.stderr, flush=True)
        app = make_app(view_of(run), hosts)

        def ready() -> None:
            print(f"{address}  (Ctrl-C ends it; the first answer takes some seconds)", flush=True)

        serve.serve(app, listener, ready)
    print("stopped", flush=True)


if __name__ == "__main__":
    define_flags()
    cli.launch(main, USAGE)
