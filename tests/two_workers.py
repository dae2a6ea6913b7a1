"""A program of two CPU workers of one thread: prints the address of their scheduler, and ends when its input does."""

import sys

from distributed import LocalCluster

from overspill.cluster import local


def main() -> None:
    asked = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with local.running(LocalCluster, local.with_defaults("LocalCluster", asked)) as started:
        print(started.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
