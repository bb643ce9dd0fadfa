"""What tells operators how a process is: logs, metrics, traces."""
