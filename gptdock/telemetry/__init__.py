"""What a process tells its operator: logs, metrics, and the watchdog of its event loop.

Every log line is one JSON object with the request id of its context (`logs`). Each request has one line that sums it
up, written when its answer has ended and its charge is known (`request_line`). Counters and histograms are updated by
the modules that do the work, and exposed by the operations port (`metrics`). One task measures how late the event loop
runs (`watchdog`). No prompt, answer or key is ever logged, no label holds the id of a client or user, and no fault of
logging reaches a request. What messages and metrics mean to an operator is in supervisor/README.md.
"""
