"""A wire between two network namespaces that is as bad as it is told to be.

  bad_wire.py NAMESPACE-A NAMESPACE-B

Makes an interface `wire` in each, and carries packets between them, in real time. It says `ready`, then takes
lines from its standard input, each with all that holds from then on:

  DELAY-MS JITTER-MS LOSS-PERCENT BYTES-PER-SECOND DROPS

Jitter lets packets overtake each other. 0 bytes a second is no limit. DROPS is `none`, `ab`, `ba` or `both`: the
directions in which everything is lost, of which nobody is told. It ends with its input.
"""
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
# What waits for a narrow wire is dropped beyond that, as a router does.
QUEUE_SECONDS_MAX = 1.0


def end_of(name, namespace):
    """The packets' end of an interface that is in that namespace from now on."""
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "netns", namespace], check=True)
    subprocess.run(["ip", "-n", namespace, "link", "set", name, "name", "wire", "up"], check=True)
    return file


def main():
    pid, (first, second) = os.getpid(), sys.argv[1:3]
    ends = {"ab": end_of(f"chw{pid}a", first), "ba": end_of(f"chw{pid}b", second)}
    other = {"ab": ends["ba"], "ba": ends["ab"]}
    delay = jitter = loss = rate = 0.0
    drops = "none"
    free_at = {"ab": 0.0, "ba": 0.0}
    waiting, count = [], 0
    draw = random.Random(1)
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, way, packet = heapq.heappop(waiting)
            try:
                os.write(other[way], packet)
            except OSError:
                pass  # Its interface is down, or its queue is full: the packet is lost.
        span = waiting[0][0] - now if waiting else None
        readable, _, _ = select.select([sys.stdin, *ends.values()], [], [], span)
        now = time.monotonic()
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line:
                return
            *numbers, drops = line.split()
            delay, jitter, loss, rate = map(float, numbers)
            print("done", flush=True)
        for way, end in ends.items():
            if end not in readable:
                continue
            try:
                packet = os.read(end, 65536)
            except OSError:
                continue  # Its interface is down.
            if drops in (way, "both") or draw.random() * 100 < loss:
                continue
            at = now
            if rate:
                at = max(free_at[way], now) + len(packet) / rate
                if at - now > QUEUE_SECONDS_MAX:
                    continue
                free_at[way] = at
            at += (delay + draw.random() * jitter) / 1000
            count += 1
            heapq.heappush(waiting, (at, count, way, packet))


main()
