"""A worker in Python for `chargehand run --serve` and `chargehand worker --serve`: greets whom a task names.

It has several tasks at once in threads, for which it is given --concurrency. Standard output is for answers
alone; what else it says goes to standard error, and chargehand shows it.
"""
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

writing = threading.Lock()


def greet(name):
    if not name:
        raise ValueError("nobody is named")
    return f"hello, {name}"


def do(task):
    answer = {"id": task["id"]}
    try:
        answer["result"] = greet(task["task"])
    except Exception as error:
        answer["error"] = str(error)
    with writing:
        print(json.dumps(answer), flush=True)


with ThreadPoolExecutor(8) as threads:
    for line in sys.stdin:
        task = json.loads(line)
        # Nobody waits for a task any more: it is short, so it ends as it would have.
        if "cancel" not in task:
            threads.submit(do, task)
