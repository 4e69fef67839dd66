"""Compute once what the teachers of a run say, on the head of a cluster: what a Ray job runs.

    ray job submit --working-dir . -- python jobs/cache.py configs/runs/demo_student.yaml \
        output_uri=s3://bucket/runs data.uri=s3://bucket/data/stdlib-docs \
        teachers.small.model=s3://bucket/runs/demo-teacher teachers.small.cache={}

The submit command of raykd does the same, and more: see its --help.
"""

import sys

from raykd.cli.job import run_job

if __name__ == "__main__":
    sys.exit(run_job("cache"))
