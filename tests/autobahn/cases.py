"""Has kosoku play Autobahn's cases, and prints what came of each: a line of fields with a tab between.

`cases.py client PORT COUNT CASES` plays them to the server at that port, so many at once. `cases.py server 0 COUNT CASES`
prints `port PORT`, and plays them to whoever connects there, until that asks for the reports. CASES are ids or `1.2.*`, with a comma between.
"""

import asyncio
import sys

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver


async def results_of(mode, port, count, cases):
    try:
        if mode == "client":
            return await run_fuzzingclient(f"ws://127.0.0.1:{port}", cases, concurrency=count)
        async with run_fuzzingserver(cases, host="127.0.0.1", port=port) as server:
            print("port", server.port, flush=True)
            return await server.get_result()
    except FailureError as failure:
        return failure.results


def main():
    mode, port, count, cases = sys.argv[1:]
    for case in asyncio.run(results_of(mode, int(port), int(count), cases.split(","))):
        why = f"{case.result} {case.result_close}".replace("\n", " ").replace("\t", " ")
        codes = f"{case.local_close_code} {case.remote_close_code}"
        print("case", case.case_id, case.behavior.value, case.behavior_close.value, codes, why, sep="\t")


main()
