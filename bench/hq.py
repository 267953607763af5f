"""How many tasks a second HyperQueue does, each a process of `true`: hq.py COUNT.

By its Python package, which has its server and its worker in it: the binary `hq` is on no package registry. The time of
a job as a whole, without that of the server's start.
"""

import sys
import time

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

count = int(sys.argv[1])
with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores=2))
    client = cluster.client()
    job = Job()
    for line in range(count):
        job.program(["true", str(line)], stdout=None, stderr=None)
    begun = time.monotonic()
    client.wait_for_jobs([client.submit(job)])
    print("rate", count / (time.monotonic() - begun))
