"""From a sweep file to its runs: points, stages, controls, seeds."""
