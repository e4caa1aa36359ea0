"""What a process tells of itself: logs, the line of each request, metrics, the watchdog of the event loop."""
