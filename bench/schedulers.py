"""How long dask.distributed and Celery take for a range of mixed durations: schedulers.py NAME COUNT SLOW.

NAME is `dask`, `celery` or `celery-prefetch-1`, COUNT how many tasks there are, SLOW 1 where the first of the 8 workers
takes 10 times as long, 0 where all are alike. The tasks, the durations and the workers are those of `bench mixed`: a worker is
a process that does one task at a time, one task in twenty takes 200 ms and the others 1 ms, chosen by the same generator.
Prints one line of JSON: `makespan` in seconds, without the start of the workers, and `to ideal`.

Celery's broker and results are a Redis server of its own, on a socket in a directory that goes with the run: nothing
listens on a port. Its prefetch is the default of 4 or, as its documentation advises for long tasks, 1 with
acknowledgements after the task.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

WORKERS = 8
SLOWNESS = 10
SHORT, LONG, LONG_PERCENT = 0.001, 0.2, 5
START_SECONDS_MAX = 120
WORD = (1 << 64) - 1


def duration(height):
    """How long a height takes: SplitMix64, as in bench/src/commands/mixed.rs."""
    state = (height + 0x9E3779B97F4A7C15) & WORD
    mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & WORD
    return LONG if (mixed ^ (mixed >> 31)) % 100 < LONG_PERCENT else SHORT


def ideal(count, slow):
    speed = WORKERS - 1 + 1 / SLOWNESS if slow else WORKERS
    return sum(duration(height) for height in range(1, count + 1)) / speed


def dask_task(height, is_slow):
    from distributed import get_worker

    factor = SLOWNESS if is_slow and str(get_worker().name) == "0" else 1
    time.sleep(duration(height) * factor)
    return height


def with_dask(count, slow):
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.admin.tick.limit": "1h"})
    cluster = LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    )
    with cluster, Client(cluster) as client:
        client.wait_for_workers(WORKERS)
        # The first task of each worker loads what it needs.
        client.run(lambda: __import__("time"))
        client.gather(client.map(dask_task, range(-WORKERS, 0), is_slow=False, pure=False))
        begun = time.monotonic()
        futures = client.map(dask_task, range(1, count + 1), is_slow=slow, pure=False)
        assert sorted(client.gather(futures)) == list(range(1, count + 1))
        return time.monotonic() - begun


def celery_app(directory):
    from celery import Celery

    url = f"redis+socket://{directory}/redis"
    app = Celery("schedulers", broker=url, backend=url)
    app.conf.broker_connection_retry_on_startup = True
    app.conf.worker_hijack_root_logger = False

    @app.task(name="sleep")
    def sleep(height):
        time.sleep(duration(height) * int(os.environ.get("CHARGEHAND_SLOWNESS", "1")))
        return height

    return app, sleep


def with_celery(count, slow, prefetch_1):
    directory = tempfile.mkdtemp(prefix="chargehand-celery.")
    processes = []

    def start(words, **environment):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(words, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, **quiet)
        processes.append(child)

    try:
        server = ["redis-server", "--port", "0", "--unixsocket", f"{directory}/redis", "--save", "", "--dir", directory]
        start(server)
        wait_for(lambda: os.path.exists(f"{directory}/redis"), "the Redis server")
        for number in range(WORKERS):
            worker = [sys.executable, __file__, "celery-worker", directory, str(number), "1" if prefetch_1 else "4"]
            start(worker, CHARGEHAND_SLOWNESS=str(SLOWNESS if slow and number == 0 else 1))
        app, sleep = celery_app(directory)
        wait_for(lambda: len(app.control.ping(timeout=1) or []) == WORKERS, "the workers of Celery")
        from celery import group

        begun = time.monotonic()
        results = group(sleep.s(height) for height in range(1, count + 1)).apply_async()
        assert sorted(results.get(interval=0.005)) == list(range(1, count + 1))
        return time.monotonic() - begun
    finally:
        # Workers first, so that none waits for its server.
        for process in reversed(processes):
            process.send_signal(signal.SIGKILL)
            process.wait()
        subprocess.run(["rm", "-rf", directory], check=False)


def celery_worker(directory, number, prefetch):
    app, _ = celery_app(directory)
    app.conf.worker_prefetch_multiplier = int(prefetch)
    app.conf.task_acks_late = prefetch == "1"
    words = ["worker", "--pool=solo", "--concurrency=1", f"--hostname=w{number}@chargehand", "--loglevel=ERROR"]
    app.worker_main([*words, "--without-gossip", "--without-mingle", "--without-heartbeat"])


def wait_for(is_there, what):
    end = time.monotonic() + START_SECONDS_MAX
    while not is_there():
        if time.monotonic() > end:
            sys.exit(f"{what} did not start within {START_SECONDS_MAX} s")
        time.sleep(0.02)


def end_with_standard_input():
    """Ends with whoever started this, and takes along what this has started."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return
    os.setpgid(0, 0)

    def watch():
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main():
    name, *words = sys.argv[1:]
    if name == "celery-worker":
        return celery_worker(*words)
    end_with_standard_input()
    count, slow = int(words[0]), words[1] == "1"
    if name == "dask":
        took = with_dask(count, slow)
    elif name in ("celery", "celery-prefetch-1"):
        took = with_celery(count, slow, name.endswith("prefetch-1"))
    else:
        sys.exit(__doc__)
    print(json.dumps({"makespan": took, "to ideal": took / ideal(count, slow)}), flush=True)


if __name__ == "__main__":
    main()
