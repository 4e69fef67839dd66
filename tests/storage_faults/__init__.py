"""Storage on real S3 servers that are killed, restarted and disturbed."""
