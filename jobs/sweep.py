"""Run a study on a cluster: what a Ray job runs.

    ray job submit --working-dir . -- python jobs/sweep.py configs/sweeps/demo.yaml \
        output_uri=s3://bucket/sweeps runs_uri=s3://bucket/runs \
        data.uri=s3://bucket/data/stdlib-docs

The submit command of raykd does the same, and more: see its --help.
"""

import sys

from raykd.cli.job import run_job

if __name__ == "__main__":
    sys.exit(run_job("sweep"))
